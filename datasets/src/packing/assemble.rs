//! Writing the pack from the spooled images, in the order of the plan.

use std::path::Path;

use ndarray::Array2;
use serde_json::{Value, json};

use super::slot::{Role, Slot, all_slots};
use super::spec::PackSpec;
use super::spool::{Outcome, Spool, SpooledImage};
use crate::error::{Error, Result};
use crate::pack::{Contents, Payload, SplitContents, Storage, write};
use crate::scene_latents::{LATENTS, SceneLatents};
use crate::sources::{PackPlan, Source, Unusable};

/// Maximum number of members that an error lists.
const LISTED_MEMBERS: usize = 10;

/// Where the images come from.
pub(super) struct Origin<'a> {
    pub source: &'a Source,
    pub input: &'a Path,
    /// Hash of the input if it is an archive.
    pub archive_hash: Option<blake3::Hash>,
    /// What the user should know about the archives that were read.
    pub remarks: &'a [String],
}

/// Writes the pack.
///
/// # Errors
/// [`Error::Member`] for unusable members, [`Error::Format`] for a split or a class without usable images,
/// [`Error::Io`] and [`Error::Hdf5`] if the pack cannot be written.
pub(super) fn assemble(
    origin: &Origin,
    out: &Path,
    plan: &PackPlan,
    spec: &PackSpec,
    spool: &Spool,
) -> Result<()> {
    let input = origin.input;
    let unusable = unusable_members(plan, spool);
    if !spec.skip_bad {
        refuse(input, plan, &unusable)?;
    }
    let kept: Vec<Vec<usize>> =
        (0..plan.splits.len()).map(|split| usable_samples(plan, split, spool)).collect();
    if let Some(split) = kept.iter().position(Vec::is_empty) {
        return Err(Error::format(
            input,
            format!("no image of the {} split can be used", plan.splits[split].0),
        ));
    }
    if !unusable.is_empty() {
        check_lost_classes(input, plan, &kept)?;
    }
    let scenes: Vec<Option<SceneLatents>> = kept
        .iter()
        .enumerate()
        .map(|(split, samples)| plan.views.map(|views| scene_latents(spool, split, samples, views)))
        .collect();
    let labels: Vec<Vec<i32>> = kept
        .iter()
        .zip(&plan.splits)
        .map(|(samples, (_, all))| samples.iter().map(|&index| all[index].label).collect())
        .collect();
    let (mean, std) = channel_statistics(spool, &kept[0]);
    let provenance = provenance(origin, plan, spec, spool, &unusable);
    let mut splits = Vec::new();
    for (split, (name, samples)) in plan.splits.iter().enumerate() {
        let masked = samples.iter().any(|sample| sample.mask.is_some());
        let payload = |role| payload(input, plan, spool, split, &kept[split], role);
        splits.push(SplitContents {
            name,
            labels: &labels[split],
            names: Some(kept[split].iter().map(|&index| samples[index].image.as_str()).collect()),
            scene: scenes[split].as_ref(),
            images: payload(Role::Image)?,
            masks: if masked { Some(payload(Role::Mask)?) } else { None },
        });
    }
    let (name, kind, class_names) = (&plan.name, plan.kind, &plan.class_names);
    write(
        out,
        Some(spool.folder()),
        &Contents { name, kind, class_names, mean, std, provenance: &provenance, splits },
    )
}

/// Refuses a set in which a class has no training images left. Sets with masks have no classes of images.
fn check_lost_classes(input: &Path, plan: &PackPlan, kept: &[Vec<usize>]) -> Result<()> {
    let (name, samples) = &plan.splits[0];
    if samples.iter().any(|sample| sample.mask.is_some()) {
        return Ok(());
    }
    let mut has = vec![false; plan.class_names.len()];
    kept[0].iter().for_each(|&index| has[samples[index].label as usize] = true);
    match has.iter().position(|has| !has) {
        None => Ok(()),
        Some(class) => {
            let reason = format!("class `{}` has no {name} image that can be used", plan.class_names[class]);
            let hint = "hint: repair its images, or remove the class from all splits";
            Err(Error::format(input, format!("{reason}\n{hint}")))
        }
    }
}

/// Members that are missing or cannot be used, in the order of the plan.
fn unusable_members(plan: &PackPlan, spool: &Spool) -> Vec<Unusable> {
    let mut unusable = plan.missing.clone();
    for (slot, member) in all_slots(plan) {
        let Slot(split, index, role) = slot;
        let reason = match spool.outcome(slot) {
            Some(Outcome::Bad { reason }) => Some(reason.clone()),
            None => Some("it is missing".into()),
            Some(Outcome::Stored(mask)) if role == Role::Mask => {
                mask_error(plan, spool, Slot(split, index, Role::Image), mask)
            }
            Some(_) => None,
        };
        unusable.extend(reason.map(|reason| Unusable::one(member, reason)));
    }
    unusable
}

/// Why a mask does not match its image or the classes of the set; `None` if it matches.
fn mask_error(plan: &PackPlan, spool: &Spool, image: Slot, mask: &SpooledImage) -> Option<String> {
    let classes = plan.class_names.len();
    if usize::from(mask.largest_id) > classes {
        return Some(format!("class id {}, expected 0 (void) to {classes}", mask.largest_id));
    }
    let image = stored(spool, image)?;
    let ([height, width], [expected_height, expected_width]) = (mask.original, image.original);
    (mask.original != image.original).then(|| {
        format!("a mask of {width} x {height} pixels for an image of {expected_width} x {expected_height}")
    })
}

/// Returns an error if there are images that cannot be used.
pub(super) fn refuse<'a>(input: &Path, plan: &PackPlan, unusable: &'a [Unusable]) -> Result<()> {
    let Some(Unusable { member: first, reason, .. }) = unusable.first() else { return Ok(()) };
    let of = |unusable: &[Unusable]| unusable.iter().map(|member| member.images).sum::<usize>();
    let all = of(&plan.missing) + plan.splits.iter().map(|(_, samples)| samples.len()).sum::<usize>();
    // the hint of many members is given once
    let mut hints: Vec<&str> = Vec::new();
    let mut without_hint = |reason: &'a str| match reason.split_once("\nhint: ") {
        Some((reason, hint)) => {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
            reason
        }
        None => reason,
    };
    let mut text = without_hint(reason).to_owned();
    for Unusable { member, reason, .. } in unusable.iter().skip(1).take(LISTED_MEMBERS - 1) {
        text += &format!("\nand {member}: {}", without_hint(reason));
    }
    if unusable.len() > LISTED_MEMBERS {
        text += &format!("\nand {} more", unusable.len() - LISTED_MEMBERS);
    }
    text.extend(hints.iter().map(|hint| format!("\nhint: {hint}")));
    text += &format!(
        "\nhint: {} of {all} members cannot be used; --skip-bad leaves them out and lists them in the pack",
        of(unusable)
    );
    Err(Error::member(input, first, text))
}

/// Indices of the samples whose members can all be used. For renders, only complete objects count.
fn usable_samples(plan: &PackPlan, split: usize, spool: &Spool) -> Vec<usize> {
    let samples = &plan.splits[split].1;
    let usable = |index: usize| {
        let usable =
            |role| !matches!(spool.outcome(Slot(split, index, role)), None | Some(Outcome::Bad { .. }));
        let sample = &samples[index];
        let image = Slot(split, index, Role::Image);
        let fits = |mask: Slot| {
            stored(spool, mask).is_some_and(|mask| mask_error(plan, spool, image, mask).is_none())
        };
        usable(Role::Image)
            && (sample.mask.is_none() || fits(Slot(split, index, Role::Mask)))
            && (sample.latents.is_none() || usable(Role::Latents))
    };
    let views = plan.views.unwrap_or(1);
    let all: Vec<usize> = (0..samples.len()).collect();
    all.chunks(views).filter(|object| object.iter().all(|&index| usable(index))).flatten().copied().collect()
}

/// The latents of the given samples.
fn scene_latents(spool: &Spool, split: usize, samples: &[usize], views: usize) -> SceneLatents {
    let mut latents = Array2::zeros((samples.len(), LATENTS));
    for (mut row, &index) in latents.rows_mut().into_iter().zip(samples) {
        if let Some(Outcome::Latents { values, .. }) = spool.outcome(Slot(split, index, Role::Latents)) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
    }
    SceneLatents { latents, views }
}

fn stored(spool: &Spool, slot: Slot) -> Option<&SpooledImage> {
    match spool.outcome(slot) {
        Some(Outcome::Stored(stored)) => Some(stored),
        _ => None,
    }
}

/// Per-channel mean and standard deviation over all pixels of the first split, in [0, 1] units.
fn channel_statistics(spool: &Spool, samples: &[usize]) -> ([f32; 3], [f32; 3]) {
    let (mut sums, mut squares, mut count) = ([0u128; 3], [0u128; 3], 0u128);
    for image in samples.iter().filter_map(|&index| stored(spool, Slot(0, index, Role::Image))) {
        count += u128::from(image.size[0]) * u128::from(image.size[1]);
        for channel in 0..3 {
            sums[channel] += u128::from(image.sums[channel]);
            squares[channel] += u128::from(image.squares[channel]);
        }
    }
    let count = count.max(1) as f64;
    let mean = sums.map(|sum| sum as f64 / count / 255.0);
    let second = squares.map(|sum| sum as f64 / count / (255.0 * 255.0));
    let std = std::array::from_fn(|channel| {
        (second[channel] - mean[channel] * mean[channel]).max(1e-12).sqrt() as f32
    });
    (mean.map(|mean| mean as f32), std)
}

/// The images or masks of a split: as pixels if all are arrays of one size, otherwise as files.
fn payload<'a>(
    input: &Path,
    plan: &PackPlan,
    spool: &'a Spool,
    split: usize,
    samples: &[usize],
    role: Role,
) -> Result<Payload<'a>> {
    let slots: Vec<Slot> = samples.iter().map(|&index| Slot(split, index, role)).collect();
    let all: Vec<&SpooledImage> = slots.iter().filter_map(|&slot| stored(spool, slot)).collect();
    let storage = if all[0].pixels {
        if let Some(other) = all.iter().position(|image| image.size != all[0].size) {
            let ([height, width], [first_height, first_width]) = (all[other].size, all[0].size);
            let reason = format!("{width} x {height} pixels, but others have {first_width} x {first_height}");
            let reason = format!("{reason}\nhint: --side N resizes all images");
            return Err(Error::member(input, &plan.splits[split].1[samples[other]].image, reason));
        }
        let [height, width] = all[0].size.map(|side| side as usize);
        Storage::Pixels { height, width, channels: if role == Role::Image { 3 } else { 1 } }
    } else {
        let mut offset = 0;
        let place = |image: &&SpooledImage| {
            let place = [offset, image.bytes];
            offset += image.bytes;
            place
        };
        Storage::Encoded {
            places: all.iter().map(place).collect(),
            sizes: all.iter().map(|image| image.size).collect(),
        }
    };
    let mut checksums = Array2::zeros((all.len(), blake3::OUT_LEN));
    for (mut row, image) in checksums.rows_mut().into_iter().zip(&all) {
        let hash = blake3::Hash::from_hex(&image.hash).unwrap_or_else(|_| blake3::hash(b""));
        row.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    Ok(Payload { storage, checksums, write: Box::new(move |to| spool.copy(&slots, to)) })
}

/// The provenance: names and checksums, but no local paths.
fn provenance(
    origin: &Origin,
    plan: &PackPlan,
    spec: &PackSpec,
    spool: &Spool,
    unusable: &[Unusable],
) -> Value {
    let Origin { source, input, archive_hash, remarks } = origin;
    let name = input.canonicalize().unwrap_or_else(|_| input.to_path_buf());
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
    let left_out: Vec<Value> = unusable.iter().map(left_out_entry).collect();
    let mut provenance = json!({
        "source": source.kind,
        "input": name,
        "archive_blake3": archive_hash.map(|hash| hash.to_hex().to_string()),
        "members_blake3": members_hash(plan, spool),
        "size": spec.resize.note(),
        "notes": plan.notes,
        "left_out": left_out,
    });
    if !remarks.is_empty() {
        provenance["input_remarks"] = json!(remarks);
    }
    provenance
}

/// The entry of a member for the provenance. A folder has the number of its images.
fn left_out_entry(unusable: &Unusable) -> Value {
    let Unusable { member, reason, images } = unusable;
    match images {
        1 => json!({ "member": member, "reason": reason }),
        _ => json!({ "member": member, "reason": reason, "images": images }),
    }
}

/// BLAKE3 hash over the name and checksum of every member, in the order of the plan. A folder and an archive
/// of it give the same hash.
fn members_hash(plan: &PackPlan, spool: &Spool) -> String {
    let mut hasher = blake3::Hasher::new();
    for (slot, _) in all_slots(plan) {
        let Slot(split, index, _) = slot;
        let source = match spool.outcome(slot) {
            Some(Outcome::Stored(stored)) => &stored.source,
            Some(Outcome::Latents { source, .. }) => source,
            _ => continue,
        };
        let image = &plan.splits[split].1[index].image;
        hasher.update(&(image.len() as u64).to_le_bytes());
        hasher.update(image.as_bytes());
        hasher.update(source.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_kind::SetKind;
    use crate::sources::Sample;

    /// Two objects with two views each.
    fn plan() -> PackPlan {
        let sample = |index| Sample { image: format!("{index}.png"), label: 0, mask: None, latents: None };
        PackPlan {
            name: "tiny".into(),
            kind: SetKind::Renders,
            class_names: vec!["a".into()],
            views: Some(2),
            splits: vec![("train".into(), (0..4).map(sample).collect())],
            missing: vec![Unusable::one("x.png", "a list names it")],
            notes: Value::Null,
        }
    }

    fn bad() -> Outcome {
        Outcome::Bad { reason: "broken".into() }
    }

    #[test]
    fn an_object_with_an_unusable_view_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(&folder.path().join("set.h5"), "key").unwrap();
        let usable = || Outcome::Latents { values: [0.0; LATENTS], source: String::new() };
        for (index, outcome) in [usable(), bad(), usable(), usable()].into_iter().enumerate() {
            spool.add(Slot(0, index, Role::Image), outcome, b"").unwrap();
        }
        assert_eq!(usable_samples(&plan(), 0, &spool), [2, 3]);
        let named: Vec<String> =
            unusable_members(&plan(), &spool).into_iter().map(|unusable| unusable.member).collect();
        assert_eq!(named, ["x.png", "1.png"]);
    }

    #[test]
    fn the_error_lists_some_members_and_counts_the_others() {
        let unusable: Vec<Unusable> =
            (0..13).map(|index| Unusable::one(format!("{index}.png"), "broken")).collect();
        let message = refuse(Path::new("in"), &plan(), &unusable).unwrap_err().to_string();
        assert!(message.starts_with("in: member 0.png: broken\nand 1.png: broken\n"), "{message}");
        assert!(message.contains("and 9.png") && !message.contains("and 10.png"), "{message}");
        assert!(message.contains("and 3 more\nhint: 13 of 5 members cannot be used"), "{message}");
        assert!(refuse(Path::new("in"), &plan(), &[]).is_ok());
        let folder = Unusable { images: 40, ..Unusable::one("extra/", "no split") };
        let message = refuse(Path::new("in"), &plan(), &[folder]).unwrap_err().to_string();
        assert!(message.contains("hint: 40 of 5 members cannot be used"), "{message}");
        let pointers: Vec<Unusable> =
            (0..3).map(|index| Unusable::one(format!("{index}.png"), "a pointer\nhint: pull it")).collect();
        let message = refuse(Path::new("in"), &plan(), &pointers).unwrap_err().to_string();
        assert!(message.contains("and 2.png: a pointer\nhint: pull it\nhint: 3 of 5"), "{message}");
    }
}
