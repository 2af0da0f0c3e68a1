//! Every format against a file of this folder's `golden/`: a whole report of made-up cells, letter for letter.
//!
//! `EQR_RENEW_GOLDEN=1 cargo test --release -p eqr-bench --lib golden` writes the files anew, for a change that is meant; git shows what it does.

use std::path::Path;

use super::fixture::{context, pretrain, probe, value};
use super::*;
use crate::run_folder::cell::CellKind;
use crate::run_folder::metric::Metric;

/// Three seeds of four rows with two tasks, a transfer and a segmentation; one entry missing, one name that every format has to escape.
fn report() -> (Vec<Cell>, ReportContext) {
    let odd = "Mine & <b>50%</b>_|x|";
    let of_row = |method: &'static str, rotation: f64, top1: f64| {
        (0..3).flat_map(move |seed| {
            // not the same for every row: differences have a spread
            let noise = [0.004, -0.006, 0.002][(seed as usize + method.len()) % 3] * (1.0 + rotation);
            let on = |set: &str, task, metric, found| Metric {
                dataset: set.to_owned(),
                ..value(task, metric, 0, found)
            };
            let own = [
                value("classification", "top1", 0, top1 - noise),
                value("rotation", "r2_per_output", 0, rotation + noise),
                value("rotation", "r2_pooled", 0, rotation + 0.1 + noise),
            ];
            let elsewhere = [
                (CellKind::Transfer, on("CIFAR10", "linear transfer", "top1", top1 + 0.1 + noise)),
                (CellKind::Segment, on("ADE20K", "segmentation", "mIoU", top1 / 2.0 + noise)),
            ];
            let elsewhere = elsewhere.map(|(kind, metric)| Cell { kind, ..probe(method, seed, &[metric]) });
            [probe(method, seed, &own)].into_iter().chain(elsewhere)
        })
    };
    let mut cells: Vec<Cell> = of_row("Random init", 0.1, 0.2)
        .chain(of_row("VICReg", 0.3, 0.5))
        .chain(of_row("Ours", 0.55, 0.48))
        .chain(of_row(odd, 0.4, 0.3))
        .collect();
    cells.push(pretrain("Ours", 0, &[(10, 2.0), (20, 1.5)]));
    let suite = serde_json::json!({"seeds": 3, "model": {"patch": 8, "head": {"hidden": 256}}, "train": {"lr": 1e-4}});
    let context = ReportContext {
        table: Some(1),
        transfers: vec![TransferColumn { dataset: "CIFAR10".into(), metric: "top1".into() }],
        segmentations: vec!["ADE20K".to_owned()],
        notes: vec!["Reduced: 100% made up.".to_owned()],
        protocol: choices(&suite, "fp32"),
        ..context(
            &["classification", "rotation"],
            &["Random init", "VICReg", "Ours", odd, "Direct regression"],
        )
    };
    (cells, context)
}

fn held_against(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
    if std::env::var_os("EQR_RENEW_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = wanted.lines().zip(found.lines()).enumerate();
    for (i, (wanted, found)) in lines {
        assert_eq!(wanted, found, "{name}, line {}", i + 1);
    }
    assert_eq!(wanted.lines().count(), found.lines().count(), "{name}: number of lines");
}

#[test]
fn every_format_is_as_it_was() {
    let (cells, context) = report();
    let formats = [
        ("terminal.txt", Format::Terminal),
        ("markdown.md", Format::Markdown),
        ("tables.csv", Format::Csv),
        ("latex.tex", Format::Latex),
    ];
    for (name, format) in formats {
        held_against(name, &render(&cells, &[&context], format).unwrap());
    }
    // a folder without manifest and pictures: a run that was copied in part
    let nothing = tempfile::tempdir().unwrap();
    let problems = ["left out: cells/x.json is damaged".to_owned()];
    let page = page(&RunFolder::new(nothing.path()), &cells, &[&context], None, &problems).unwrap();
    held_against("page.html", &page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert!(!page.contains("<b>50%"), "names are text, not HTML");
}
