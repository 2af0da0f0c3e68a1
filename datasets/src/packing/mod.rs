//! From a source to a pack: read the members in order, decode them in parallel, spool the results, and
//! assemble the pack.
//!
//! Finished images are kept beside the pack in `FILE.h5.part/` until the pack is complete. If packing was
//! killed or the disk was full, the same command resumes where it stopped. Images are spooled in the order in
//! which the source yields them, for any number of threads. The pack stores them in the order of the
//! [`PackPlan`].

mod assemble;
mod made_otherwise;
mod remarks;
mod slot;
mod spec;
mod spool;
mod worker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use serde_json::json;

use crate::archives::{IMAGE_BYTES, Listed, Selection, Tree, Visit};
use crate::error::{Error, Result};
use crate::output::follow_links;
use crate::pack::Pack;
use crate::sources::{Listing, PackPlan, Source};
use assemble::Origin;
use slot::{Slot, SlotUse, slots_by_member};
use spool::{Outcome, Spool};
use worker::Worker;

pub use made_otherwise::made_otherwise;
pub use remarks::remarks;
pub use spec::{PackSpec, Resize};

/// Maximum size in bytes of a member with several images. CIFAR-100's training batch has 155 MB.
const RECORDS_BYTES: u64 = 256 << 20;
/// Maximum number of members in a batch.
const BATCH_MEMBERS: usize = 512;
/// Number of bytes after which a batch is full.
const BATCH_BYTES: usize = 16 << 20;
/// Maximum number of batches waiting to be decoded.
const WAITING_BATCHES: usize = 2;

/// Packs `input`, which has the layout of `source`, to `out`. `progress` is called with the number of
/// finished members and the number of all members.
///
/// # Errors
/// The errors of the source and of [`Tree`]; [`Error::Member`] for images that cannot be used, after all
/// images have been checked; [`Error::Io`] if the pack cannot be written; [`Error::Format`] if another
/// process is packing to `out`, or if the folder of unfinished work holds something else.
pub fn pack(
    source: &Source,
    input: &Path,
    out: &Path,
    spec: &PackSpec,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Pack> {
    spec.validate()?;
    let out = &follow_links(out).map_err(Error::io(out))?;
    let mut tree = Tree::open(input)?;
    let selection = Selection { is_list: source.is_list, is_sniffed: source.is_sniffed };
    let Listed { members, lists, kinds, remarks } = tree.list(selection)?;
    let listing = Listing { input, members, lists, kinds };
    let plan = (source.plan)(&listing, &spec.options)?;
    if !spec.skip_bad {
        // report missing members now, not after an hour of decoding
        assemble::refuse(input, &plan, &plan.missing)?;
    }
    check_plan(&plan, input)?;
    let key = resume_key(source, &listing, &plan, spec);
    drop(listing);
    let mut spool = Spool::open(out, &key)?;
    let packed = spool_all(source, &tree, &plan, spec, &mut spool, progress).and_then(|archive_hash| {
        let origin = Origin { source, input, archive_hash, remarks: &remarks };
        assemble::assemble(&origin, out, &plan, spec, &spool)
    });
    match packed {
        // packing can resume after an I/O or HDF5 error; after any other error nothing is kept
        Err(error @ (Error::Io { .. } | Error::Hdf5 { .. })) => Err(spool.with_resume_hint(error)),
        other => {
            spool.remove();
            other?;
            Pack::open(out)
        }
    }
}

/// Checks what the plan of every source must satisfy.
fn check_plan(plan: &PackPlan, input: &Path) -> Result<()> {
    let refuse = |reason: String| Err(Error::format(input, reason));
    for (split, samples) in &plan.splits {
        if samples.is_empty() {
            return refuse(format!("nothing is left for the {split} split"));
        }
        let classes = plan.class_names.len();
        if let Some(sample) =
            samples.iter().find(|sample| sample.label < 0 || sample.label as usize >= classes)
        {
            let reason = format!("label {} of {classes} classes", sample.label);
            return Err(Error::member(input, &sample.image, reason));
        }
        if let Some(views) = plan.views
            && !samples.len().is_multiple_of(views)
        {
            return refuse(format!(
                "{} images of the {split} split are not a multiple of {views} views",
                samples.len()
            ));
        }
    }
    if plan.splits.is_empty() { refuse("no splits".into()) } else { Ok(()) }
}

/// A hash of everything that must stay the same to resume an interrupted packing.
fn resume_key(source: &Source, listing: &Listing, plan: &PackPlan, spec: &PackSpec) -> String {
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

/// A member that has been read and waits to be decoded.
struct ReadMember {
    path: String,
    /// The content, or the reason why it cannot be read.
    bytes: std::result::Result<Vec<u8>, String>,
}

/// Spools every slot of the plan that is not spooled yet. Returns the BLAKE3 hash of the input if it is an
/// archive.
fn spool_all(
    source: &Source,
    tree: &Tree,
    plan: &PackPlan,
    spec: &PackSpec,
    spool: &mut Spool,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Option<blake3::Hash>> {
    let members = slots_by_member(source, plan);
    let missing: HashMap<&str, &Vec<SlotUse>> = members
        .iter()
        .filter(|(_, uses)| uses.iter().any(|used| !spool.has(used.slot)))
        .map(|(member, uses)| (*member, uses))
        .collect();
    let mut done = members.len() - missing.len();
    let (to, from) = sync_channel(WAITING_BATCHES);
    let wanted = |path: &str| missing.contains_key(path);
    std::thread::scope(|scope| {
        let limit = if source.records.is_some() { RECORDS_BYTES } else { IMAGE_BYTES };
        let reader = scope.spawn(move || read_members(tree, limit, &wanted, to));
        let worker = Worker { records: source.records, resize: spec.resize, side: source.side };
        let spooled = spool_batches(&worker, &missing, from, spool, &mut |finished| {
            done += finished;
            progress(done, members.len());
        });
        // propagate a panic of the reader
        let hash = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        spooled.and(hash)
    })
}

/// Sends the members that are needed to `to`, in batches of bounded size and in the order of the tree.
fn read_members(
    tree: &Tree,
    limit: u64,
    wanted: &dyn Fn(&str) -> bool,
    to: SyncSender<Vec<ReadMember>>,
) -> Result<Option<blake3::Hash>> {
    let mut batch: Vec<ReadMember> = Vec::new();
    let mut bytes = 0;
    let hash = tree.visit(&mut |path, size, reader| {
        if !wanted(path) {
            return Ok(Visit::Continue);
        }
        let read = match tree.read_member(path, size, reader, limit) {
            Ok(read) => Ok(read),
            // an error of one image only; if the archive itself is damaged, the tree returns an error later
            Err(Error::Member { reason, .. }) => Err(reason),
            Err(other) => return Err(other),
        };
        bytes += read.as_ref().map_or(0, Vec::len);
        batch.push(ReadMember { path: path.to_owned(), bytes: read });
        if batch.len() < BATCH_MEMBERS && bytes < BATCH_BYTES {
            return Ok(Visit::Continue);
        }
        bytes = 0;
        // a receiver that has stopped reports its own error
        Ok(if to.send(std::mem::take(&mut batch)).is_ok() { Visit::Continue } else { Visit::Stop })
    })?;
    let _ = to.send(batch);
    Ok(hash)
}

/// Decodes the batches in order and spools the results in the order of the members.
fn spool_batches(
    worker: &Worker,
    missing: &HashMap<&str, &Vec<SlotUse>>,
    from: Receiver<Vec<ReadMember>>,
    spool: &mut Spool,
    finished: &mut dyn FnMut(usize),
) -> Result<()> {
    for batch in from {
        // decode only a few at a time, because decoded images may be much larger than their files
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
