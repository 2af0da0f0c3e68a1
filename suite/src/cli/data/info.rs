//! `eqr-bench data info`: what a pack holds and how it was made.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use eqr_datasets::bytes::Bytes;
use eqr_datasets::pack::PackedSplit;
use eqr_datasets::packing::remarks;
use eqr_datasets::{Pack, SetKind};
use serde_json::{Value, json};

use crate::console::print_text;

/// Number of class names that the text shows.
const SHOWN_CLASSES: usize = 12;

/// Options of `data info`.
#[derive(Args)]
pub struct InfoArgs {
    /// The pack.
    pack: PathBuf,
    /// Print JSON instead of text: with all class names, and everything that is known of how it was made.
    #[arg(long)]
    json: bool,
}

/// Prints the description of the pack.
///
/// # Errors
/// A file that is no pack or is damaged.
pub fn run(args: &InfoArgs) -> Result<()> {
    let pack = Pack::open(&args.pack)?;
    let length = std::fs::metadata(&args.pack).with_context(|| args.pack.display().to_string())?.len();
    print_text(&if args.json { as_json(&pack, length) } else { as_text(&pack, length) })
}

/// Number of images of each label.
fn by_class(split: &PackedSplit) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    split.labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    counts
}

/// `32 x 32`, or the range of the shorter sides.
fn sizes(split: &PackedSplit) -> String {
    if let Some([height, width]) = split.one_size() {
        return format!("{width} x {height}");
    }
    let sides = (0..split.len()).map(|index| split.size(index)).map(|[height, width]| height.min(width));
    let (least, most) = sides.fold((usize::MAX, 0), |(least, most), side| (least.min(side), most.max(side)));
    format!("several sizes, shorter side {least} to {most}")
}

fn as_json(pack: &Pack, length: u64) -> String {
    let split = |split: &PackedSplit| {
        let mut of_class = json!({});
        if pack.has_labels() && !split.has_masks() {
            for (label, count) in by_class(split) {
                of_class[&pack.class_names[label as usize]] = json!(count);
            }
        }
        let value = json!({
            "images": split.len(),
            "height_width": split.one_size(),
            "bytes": split.image_bytes(),
            "masks": split.has_masks(),
            "views": split.scene.as_ref().map(|scene| scene.views),
            "images_of_class": of_class,
        });
        (split.name.to_owned(), value)
    };
    let value = json!({
        "file": pack.path().display().to_string(),
        "bytes": length,
        "format_version": pack.version,
        "name": pack.name,
        "kind": pack.kind,
        "labels": pack.has_labels(),
        "classes": if pack.has_labels() { json!(pack.class_names) } else { json!([]) },
        "splits": pack.splits.iter().map(split).collect::<serde_json::Map<_, _>>(),
        "mean": pack.mean,
        "std": pack.std,
        "content_blake3": pack.content,
        "provenance": pack.provenance,
    });
    format!("{value:#}\n")
}

fn as_text(pack: &Pack, length: u64) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let value = value.replace('\n', "\n            ");
        writeln!(text, "{key:11} {value}").expect("a string takes everything");
    };
    let kind = match pack.kind {
        SetKind::Photographs => "photographs: a pair is an image and its transformation",
        SetKind::Renders => "renders: a pair is two views of an object",
    };
    line("name", &pack.name);
    line("kind", kind);
    for split in &pack.splits {
        let masks = if split.has_masks() { ", with masks" } else { "" };
        let objects = match &split.scene {
            Some(scene) => format!(" ({} objects x {} views)", split.len() / scene.views, scene.views),
            None => String::new(),
        };
        let (count, size, bytes) = (split.len(), sizes(split), Bytes(split.image_bytes()));
        line(split.name, &format!("{count} images{objects} of {size}{masks}, {bytes}"));
    }
    line("classes", &classes(pack));
    line("made", &made(&pack.provenance));
    remarks(pack).iter().for_each(|remark| line("", remark));
    line("file", &format!("{}, format version {}", Bytes(length), pack.version));
    line("content", &pack.content);
    line("checksums", "everything but the images is whole; `eqr-bench data verify` checks the images too");
    text
}

fn classes(pack: &Pack) -> String {
    if !pack.has_labels() {
        return "no labels".to_owned();
    }
    let names = &pack.class_names;
    let shown = names.iter().take(SHOWN_CLASSES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(SHOWN_CLASSES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut text = format!("{}: {shown}{more}", names.len());
    if !pack.splits[0].has_masks() {
        let counts = by_class(&pack.splits[0]);
        let (least, most) = (counts.values().min(), counts.values().max());
        if let (Some(least), Some(most)) = (least, most) {
            let each = if least == most { least.to_string() } else { format!("{least} to {most}") };
            text += &format!("\n{each} {} images of each", pack.splits[0].name);
        }
    }
    text
}

/// From what and with which options the pack was made.
fn made(provenance: &Value) -> String {
    let of = |key: &str| provenance[key].as_str();
    let mut parts = vec![match (of("source"), of("input")) {
        (Some(source), Some(input)) => format!("from {input}, as {source}"),
        (Some(source), None) => format!("as {source}"),
        _ => return provenance.to_string(),
    }];
    match &provenance["size"] {
        Value::Null => {}
        Value::String(size) => parts.push(format!("size {size}")),
        size => parts.push(format!("size {}", short(size))),
    }
    match &provenance["notes"]["split"] {
        Value::Null => {}
        Value::String(split) => parts.push(format!("split {split}")),
        split => parts.push(format!("split {}", short(split))),
    }
    if let Some(hash) = of("archive_blake3") {
        parts.push(format!("archive BLAKE3 {hash}"));
    }
    parts.join("\n")
}

/// A JSON object in one line: `test_fraction 0.2, seed 0`.
fn short(object: &Value) -> String {
    let entries = object.as_object().into_iter().flatten();
    let entry = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{} {text}", key.replace('_', " ")),
        value => format!("{} {value}", key.replace('_', " ")),
    };
    entries.map(entry).collect::<Vec<_>>().join(", ")
}
