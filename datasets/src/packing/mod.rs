//! From a source to a pack: read one member after the other, decode in parallel, spool, assemble.
//!
//! What is done is kept beside the pack, in `FILE.h5.part/`, until the pack is whole: a packing that was killed or met a full disk goes
//! on where it stopped when the same command is given again. Images are spooled in the order in which the source yields them, which
//! the number of threads does not change, and lie in the pack in the order of its [`Plan`].

mod assemble;
mod spool;
mod work;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::pack::Pack;
use crate::sources::tree::IMAGE_BYTES;
use crate::sources::{Listing, Options, Plan, Source, Tree, Visit};
use spool::{Outcome, Spool};
use work::Worker;

/// Largest side of the images of a pack.
const LARGEST_SIDE: usize = 4096;
/// Largest file with several images; CIFAR-100's training batch has 155 MB.
const RECORDS_BYTES: u64 = 256 << 20;
/// Members after which a batch is handed over.
const BATCH_MEMBERS: usize = 512;
/// Bytes after which a batch is handed over.
const BATCH_BYTES: usize = 16 << 20;
/// Batches that wait for decoding at most.
const WAITING_BATCHES: usize = 2;
/// Members that are left out of an error's list.
const NAMED: usize = 10;

/// What becomes of the images' sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Every image keeps its size and its bytes; those of a set of one small size become arrays of pixels.
    Keep,
    /// The central square, resized to this side (bilinear, antialiased), as an array of pixels; masks by the nearest pixel.
    Square(usize),
    /// Images whose shorter side is longer than this are resized to it (bicubic, antialiased) and stored as JPEG of quality 95; masks by
    /// the nearest pixel, as PNG. The others keep their bytes.
    ShortSide(usize),
}

/// How a source is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct PackSpec {
    /// About labels and splits.
    pub options: Options,
    /// About sizes.
    pub resize: Resize,
    /// Leave out images that cannot be used, and say so in the provenance, where otherwise nothing is packed.
    pub skip_bad: bool,
}

impl PackSpec {
    fn validate(&self) -> Result<()> {
        let fraction = self.options.test_fraction;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::Invalid(format!("the test fraction must be above 0 and below 1, and is {fraction}")));
        }
        match self.resize {
            Resize::Square(side) | Resize::ShortSide(side) if !(1..=LARGEST_SIDE).contains(&side) => {
                Err(Error::Invalid(format!("the side must be 1 to {LARGEST_SIDE} pixels, and is {side}")))
            }
            _ => Ok(()),
        }
    }
}

/// Packs `input`, which lies as `source` says, to `out`. `progress` gets the number of finished and of all members.
///
/// # Errors
/// What the source and [`Tree`] say about the input, [`Error::Member`] for images that cannot be used (all of them are looked for
/// first), [`Error::Io`] where the pack cannot be written or another process is packing to it.
pub fn pack(
    source: &Source,
    input: &Path,
    out: &Path,
    spec: &PackSpec,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Pack> {
    spec.validate()?;
    let tree = Tree::open(input)?;
    let (members, lists) = tree.list(source.is_list)?;
    let listing = Listing { input, members, lists };
    let plan = (source.plan)(&listing, &spec.options)?;
    if !spec.skip_bad {
        // said before an hour of decoding rather than after it
        assemble::refuse(input, &plan, &plan.absent)?;
    }
    check(&plan, input)?;
    let key = key(source, &listing, &plan, spec);
    drop(listing);
    let mut spool = Spool::open(out, &key)?;
    let packed = spool_all(source, &tree, &plan, spec, &mut spool, progress)
        .and_then(|hash| assemble::assemble(source, input, out, &plan, spec, &spool, hash));
    match packed {
        // what stopped half-way goes on later; what cannot be packed leaves nothing behind
        Err(error @ (Error::Io { .. } | Error::Hdf5 { .. })) => Err(spool.keep(error)),
        other => {
            spool.remove();
            other?;
            Pack::open(out)
        }
    }
}

/// What every source's plan must fulfil.
fn check(plan: &Plan, input: &Path) -> Result<()> {
    let refuse = |reason: String| Err(Error::format(input, reason));
    for (split, items) in &plan.splits {
        if items.is_empty() {
            return refuse(format!("nothing is left for the {split} split"));
        }
        if let Some(item) = items.iter().find(|item| item.label < 0 || item.label as usize >= plan.class_names.len()) {
            let classes = plan.class_names.len();
            return Err(Error::member(input, &item.image, format!("label {} of {classes} classes", item.label)));
        }
        if let Some(views) = plan.views
            && !items.len().is_multiple_of(views)
        {
            return refuse(format!("{} images of the {split} split are no multiple of {views} views", items.len()));
        }
    }
    if plan.splits.is_empty() { refuse("no split".into()) } else { Ok(()) }
}

/// What must be the same for a packing to go on where another stopped.
fn key(source: &Source, listing: &Listing, plan: &Plan, spec: &PackSpec) -> String {
    let mut hasher = blake3::Hasher::new();
    let options = (&spec.options.name, spec.options.test_fraction.to_bits(), spec.options.seed);
    let head = json!([source.kind, options, spec.resize, plan.name, plan.class_names, plan.notes]);
    hasher.update(head.to_string().as_bytes());
    for (path, bytes) in &listing.members {
        hasher.update(&bytes.to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// What a member is to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Image,
    Mask,
    Latents,
}

/// A place in the pack: split, item, role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Slot(usize, usize, Role);

/// What a member is needed for.
struct Use {
    slot: Slot,
    /// Which of the member's images.
    record: Option<usize>,
}

/// Every member that is needed, with what for.
fn uses<'a>(source: &Source, plan: &'a Plan) -> HashMap<&'a str, Vec<Use>> {
    let mut uses: HashMap<&str, Vec<Use>> = HashMap::new();
    let mut add = |name: &'a str, slot: Slot| {
        let numbered = name.rsplit_once('#').filter(|_| source.records.is_some());
        let numbered = numbered.and_then(|(member, record)| Some((member, record.parse().ok()?)));
        let (member, record) = numbered.map_or((name, None), |(member, record)| (member, Some(record)));
        uses.entry(member).or_default().push(Use { slot, record });
    };
    for (split, (_, items)) in plan.splits.iter().enumerate() {
        for (index, item) in items.iter().enumerate() {
            add(&item.image, Slot(split, index, Role::Image));
            item.mask.iter().for_each(|mask| add(mask, Slot(split, index, Role::Mask)));
            item.latents.iter().for_each(|latents| add(latents, Slot(split, index, Role::Latents)));
        }
    }
    uses
}

/// A member that waits for decoding, or why it cannot be read.
struct Waiting {
    path: String,
    bytes: std::result::Result<Vec<u8>, String>,
}

/// Spools every slot of the plan that is not spooled yet; gives the BLAKE3 of an archive.
fn spool_all(
    source: &Source,
    tree: &Tree,
    plan: &Plan,
    spec: &PackSpec,
    spool: &mut Spool,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Option<blake3::Hash>> {
    let uses = uses(source, plan);
    let missing: HashMap<&str, &Vec<Use>> = uses
        .iter()
        .filter(|(_, of)| of.iter().any(|wanted| !spool.has(wanted.slot)))
        .map(|(member, of)| (*member, of))
        .collect();
    let mut done = uses.len() - missing.len();
    let (to, from) = sync_channel(WAITING_BATCHES);
    let wanted = |path: &str| missing.contains_key(path);
    std::thread::scope(|scope| {
        let limit = if source.records.is_some() { RECORDS_BYTES } else { IMAGE_BYTES };
        let reader = scope.spawn(move || read(tree, limit, &wanted, to));
        let worker = Worker { records: source.records, resize: spec.resize, side: source.side };
        let spooled = spool_batches(&worker, &missing, from, spool, &mut |members| {
            done += members;
            progress(done, uses.len());
        });
        // a panic of the reader goes on here; it has none of its own
        let hash = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        spooled.and(hash)
    })
}

/// Hands the wanted members to `to` in batches of bounded size, in the tree's order.
fn read(
    tree: &Tree,
    limit: u64,
    wanted: &dyn Fn(&str) -> bool,
    to: SyncSender<Vec<Waiting>>,
) -> Result<Option<blake3::Hash>> {
    let mut batch: Vec<Waiting> = Vec::new();
    let mut bytes = 0;
    let hash = tree.visit(&mut |path, size, reader| {
        if !wanted(path) {
            return Ok(Visit::Continue);
        }
        let read = match tree.read_member(path, size, reader, limit) {
            Ok(read) => Ok(read),
            // one image; where it is the archive that ends here the tree says so itself
            Err(Error::Member { reason, .. }) => Err(reason),
            Err(other) => return Err(other),
        };
        bytes += read.as_ref().map_or(0, Vec::len);
        batch.push(Waiting { path: path.to_owned(), bytes: read });
        if batch.len() < BATCH_MEMBERS && bytes < BATCH_BYTES {
            return Ok(Visit::Continue);
        }
        bytes = 0;
        // nobody listens where the other side met an error, which it reports itself
        Ok(if to.send(std::mem::take(&mut batch)).is_ok() { Visit::Continue } else { Visit::Stop })
    })?;
    let _ = to.send(batch);
    Ok(hash)
}

/// Decodes batch after batch and spools what comes out, in the order of the members.
fn spool_batches(
    worker: &Worker,
    missing: &HashMap<&str, &Vec<Use>>,
    from: Receiver<Vec<Waiting>>,
    spool: &mut Spool,
    finished: &mut dyn FnMut(usize),
) -> Result<()> {
    for batch in from {
        // a few at a time: decoded images may be much larger than their files
        for members in batch.chunks(4 * rayon::current_num_threads()) {
            let results: Vec<Vec<(Slot, Outcome, Vec<u8>)>> = members
                .par_iter()
                .map(|member| worker.results(&member.path, &member.bytes, missing[member.path.as_str()]))
                .collect();
            for (slot, outcome, bytes) in results.into_iter().flatten() {
                spool.add(slot, outcome, &bytes)?;
            }
            spool.commit()?;
            finished(members.len());
        }
    }
    Ok(())
}

/// Where the unfinished pack of `out` is kept.
fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
