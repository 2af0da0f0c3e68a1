//! The spooled images in the order of the plan, as a pack.

use std::path::Path;

use ndarray::Array2;
use serde_json::{Value, json};

use super::spool::{Outcome, Spool, Stored};
use super::{NAMED, PackSpec, Resize, Role, Slot};
use crate::dataset::Scene;
use crate::error::{Error, Result};
use crate::pack::{Contents, Form, LATENTS, Payload, SplitContents, write};
use crate::sources::{Plan, Source};

/// Writes the pack out of everything that is spooled.
pub(super) fn assemble(
    source: &Source,
    input: &Path,
    out: &Path,
    plan: &Plan,
    spec: &PackSpec,
    spool: &Spool,
    archive: Option<blake3::Hash>,
) -> Result<()> {
    let bad = bad_members(plan, spool);
    if !spec.skip_bad {
        refuse(input, plan, &bad)?;
    }
    let kept: Vec<Vec<usize>> = (0..plan.splits.len()).map(|split| kept_items(plan, split, spool)).collect();
    if let Some(split) = kept.iter().position(Vec::is_empty) {
        return Err(Error::format(input, format!("no image of the {} split can be used", plan.splits[split].0)));
    }
    let scenes: Vec<Option<Scene>> = kept
        .iter()
        .enumerate()
        .map(|(split, items)| plan.views.map(|views| scene(spool, split, items, views)))
        .collect();
    let labels: Vec<Vec<i32>> = kept
        .iter()
        .zip(&plan.splits)
        .map(|(items, (_, all))| items.iter().map(|&item| all[item].label).collect())
        .collect();
    let (mean, std) = statistics(spool, &kept[0]);
    let provenance = provenance(source, input, plan, spec, spool, archive, &bad);
    let mut splits = Vec::new();
    for (split, (name, items)) in plan.splits.iter().enumerate() {
        let masked = items.iter().any(|item| item.mask.is_some());
        let payload = |role| payload(input, plan, spool, split, &kept[split], role);
        splits.push(SplitContents {
            name,
            labels: &labels[split],
            names: Some(kept[split].iter().map(|&item| items[item].image.as_str()).collect()),
            scene: scenes[split].as_ref(),
            images: payload(Role::Image)?,
            masks: if masked { Some(payload(Role::Mask)?) } else { None },
        });
    }
    let (name, kind, class_names) = (&plan.name, plan.kind, &plan.class_names);
    write(out, spool.folder(), &Contents { name, kind, class_names, mean, std, provenance: &provenance, splits })
}

/// Members that cannot be used, with the reason.
pub(super) type Bad = Vec<(String, String)>;

/// Members that are not there or cannot be used, in the order of the plan.
fn bad_members(plan: &Plan, spool: &Spool) -> Bad {
    let mut bad = plan.absent.clone();
    for (split, (_, items)) in plan.splits.iter().enumerate() {
        for (index, item) in items.iter().enumerate() {
            let members = [
                (Role::Image, Some(&item.image)),
                (Role::Mask, item.mask.as_ref()),
                (Role::Latents, item.latents.as_ref()),
            ];
            for (role, member) in members {
                let Some(member) = member else { continue };
                match spool.outcome(Slot(split, index, role)) {
                    Some(Outcome::Bad { reason }) => bad.push((member.clone(), reason.clone())),
                    None => bad.push((member.clone(), "it is not there".into())),
                    Some(Outcome::Stored(mask)) if role == Role::Mask => {
                        if let Some(reason) = unfit(plan, spool, Slot(split, index, Role::Image), mask) {
                            bad.push((member.clone(), reason));
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }
    bad
}

/// How a mask does not fit its image or the set's classes.
fn unfit(plan: &Plan, spool: &Spool, image: Slot, mask: &Stored) -> Option<String> {
    let classes = plan.class_names.len();
    if usize::from(mask.largest_id) > classes {
        return Some(format!("class id {}, expected 0 (void) to {classes}", mask.largest_id));
    }
    let image = stored(spool, image)?;
    let ([height, width], [expected_height, expected_width]) = (mask.original, image.original);
    (mask.original != image.original)
        .then(|| format!("a mask of {width} x {height} pixels for an image of {expected_width} x {expected_height}"))
}

/// The error about images that cannot be used, where there are some.
pub(super) fn refuse(input: &Path, plan: &Plan, bad: &Bad) -> Result<()> {
    let Some((first, reason)) = bad.first() else { return Ok(()) };
    let all = plan.absent.len() + plan.splits.iter().map(|(_, items)| items.len()).sum::<usize>();
    let mut text = reason.clone();
    for (member, reason) in bad.iter().skip(1).take(NAMED - 1) {
        text += &format!("\nand {member}: {reason}");
    }
    if bad.len() > NAMED {
        text += &format!("\nand {} more", bad.len() - NAMED);
    }
    text += &format!(
        "\nhint: {} of {all} images cannot be used; --skip-bad packs the others and lists these in the pack",
        bad.len()
    );
    Err(Error::member(input, first, text))
}

/// The items of a split of which everything can be used; of renders whole objects only.
fn kept_items(plan: &Plan, split: usize, spool: &Spool) -> Vec<usize> {
    let items = &plan.splits[split].1;
    let usable = |index: usize| {
        let usable = |role| !matches!(spool.outcome(Slot(split, index, role)), None | Some(Outcome::Bad { .. }));
        let item = &items[index];
        let image = Slot(split, index, Role::Image);
        let fits = |mask: Slot| stored(spool, mask).is_some_and(|mask| unfit(plan, spool, image, mask).is_none());
        usable(Role::Image)
            && (item.mask.is_none() || fits(Slot(split, index, Role::Mask)))
            && (item.latents.is_none() || usable(Role::Latents))
    };
    let views = plan.views.unwrap_or(1);
    let all: Vec<usize> = (0..items.len()).collect();
    all.chunks(views).filter(|object| object.iter().all(|&index| usable(index))).flatten().copied().collect()
}

/// The scene of the kept renders.
fn scene(spool: &Spool, split: usize, items: &[usize], views: usize) -> Scene {
    let mut latents = Array2::zeros((items.len(), LATENTS));
    for (mut row, &item) in latents.rows_mut().into_iter().zip(items) {
        if let Some(Outcome::Latents { values, .. }) = spool.outcome(Slot(split, item, Role::Latents)) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
    }
    Scene { latents, views }
}

fn stored(spool: &Spool, slot: Slot) -> Option<&Stored> {
    match spool.outcome(slot) {
        Some(Outcome::Stored(stored)) => Some(stored),
        _ => None,
    }
}

/// Mean and standard deviation a channel over all pixels of the first split's images, in [0, 1] units.
fn statistics(spool: &Spool, items: &[usize]) -> ([f32; 3], [f32; 3]) {
    let (mut sums, mut squares, mut count) = ([0u128; 3], [0u128; 3], 0u128);
    for image in items.iter().filter_map(|&item| stored(spool, Slot(0, item, Role::Image))) {
        count += u128::from(image.size[0]) * u128::from(image.size[1]);
        for channel in 0..3 {
            sums[channel] += u128::from(image.sums[channel]);
            squares[channel] += u128::from(image.squares[channel]);
        }
    }
    let count = count.max(1) as f64;
    let mean = sums.map(|sum| sum as f64 / count / 255.0);
    let second = squares.map(|sum| sum as f64 / count / (255.0 * 255.0));
    let std = std::array::from_fn(|channel| (second[channel] - mean[channel] * mean[channel]).max(1e-12).sqrt() as f32);
    (mean.map(|mean| mean as f32), std)
}

/// Images or masks of a split: as pixels where all are arrays of one size, as files where all are files.
fn payload<'a>(
    input: &Path,
    plan: &Plan,
    spool: &'a Spool,
    split: usize,
    items: &[usize],
    role: Role,
) -> Result<Payload<'a>> {
    let slots: Vec<Slot> = items.iter().map(|&item| Slot(split, item, role)).collect();
    let all: Vec<&Stored> = slots.iter().filter_map(|&slot| stored(spool, slot)).collect();
    let form = if all[0].pixels {
        if let Some(other) = all.iter().position(|image| image.size != all[0].size) {
            let ([height, width], [first_height, first_width]) = (all[other].size, all[0].size);
            let reason = format!(
                "{width} x {height} pixels where others have {first_width} x {first_height}\nhint: --side N resizes all images"
            );
            return Err(Error::member(input, &plan.splits[split].1[items[other]].image, reason));
        }
        let [height, width] = all[0].size.map(|side| side as usize);
        Form::Pixels { height, width, channels: if role == Role::Image { 3 } else { 1 } }
    } else {
        let mut offset = 0;
        let place = |image: &&Stored| {
            let place = [offset, image.bytes];
            offset += image.bytes;
            place
        };
        Form::Encoded { places: all.iter().map(place).collect(), sizes: all.iter().map(|image| image.size).collect() }
    };
    let mut checksums = Array2::zeros((all.len(), blake3::OUT_LEN));
    for (mut row, image) in checksums.rows_mut().into_iter().zip(&all) {
        let hash = blake3::Hash::from_hex(&image.hash).unwrap_or_else(|_| blake3::hash(b""));
        row.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    Ok(Payload { form, checksums, copy: Box::new(move |to| spool.copy(&slots, to)) })
}

/// What is recorded about the source: names and checksums, no paths of this machine.
fn provenance(
    source: &Source,
    input: &Path,
    plan: &Plan,
    spec: &PackSpec,
    spool: &Spool,
    archive: Option<blake3::Hash>,
    bad: &Bad,
) -> Value {
    let name = input.canonicalize().unwrap_or_else(|_| input.to_owned());
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
    let resize = match spec.resize {
        Resize::Keep => json!("as in the source"),
        Resize::Square(side) => json!({ "central_square": side, "filter": "bilinear, antialiased" }),
        Resize::ShortSide(side) => json!({ "short_side": side, "filter": "bicubic, antialiased", "jpeg_quality": 95 }),
    };
    let left_out: Vec<Value> =
        bad.iter().map(|(member, reason)| json!({ "member": member, "reason": reason })).collect();
    json!({
        "source": source.kind,
        "input": name,
        "archive_blake3": archive.map(|hash| hash.to_hex().to_string()),
        "members_blake3": members_hash(plan, spool),
        "size": resize,
        "notes": plan.notes,
        "left_out": left_out,
    })
}

/// BLAKE3 over name and checksum of every member, in the order of the plan: the same for a folder and its archive.
fn members_hash(plan: &Plan, spool: &Spool) -> String {
    let mut hasher = blake3::Hasher::new();
    for (split, (_, items)) in plan.splits.iter().enumerate() {
        for (index, item) in items.iter().enumerate() {
            for role in [Role::Image, Role::Mask, Role::Latents] {
                let source = match spool.outcome(Slot(split, index, role)) {
                    Some(Outcome::Stored(stored)) => &stored.source,
                    Some(Outcome::Latents { source, .. }) => source,
                    _ => continue,
                };
                hasher.update(&(item.image.len() as u64).to_le_bytes());
                hasher.update(item.image.as_bytes());
                hasher.update(source.as_bytes());
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}
