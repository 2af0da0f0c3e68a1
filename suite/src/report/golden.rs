//! Compares every format with a file in this folder's `golden/`, letter for letter. The
//! report is a whole one of made-up cells.
//!
//! `EQR_RENEW_GOLDEN=1 cargo test --release -p eqr-bench --lib golden` rewrites the files after an intended
//! change.

use super::fixture::{context, downstream, pretrain, probe, value};
use super::formats::by_name;
use super::*;
use crate::cluster::energy::Energy;
use crate::recorded_text;
use crate::run_folder::cell::CellKind;
use crate::suite_file::own_claims::OwnClaim;

/// Three seeds of six rows with two tasks, a transfer and a segmentation. One entry is missing, and one name
/// must be escaped in every format.
fn report() -> (Vec<Cell>, ReportContext) {
    let odd = "Mine & <b>50%</b>_|x|";
    let of_row = |method: &'static str, rotation: f64, top1: f64| {
        (0..3).flat_map(move |seed| {
            // differs between rows, so that differences have a spread
            let noise = [0.004, -0.006, 0.002][(seed as usize + method.len()) % 3] * (1.0 + rotation);
            let own = [
                value("classification", "top1", 0, top1 - noise),
                value("rotation", "r2_per_output", 0, rotation + noise),
                value("rotation", "r2_pooled", 0, rotation + 0.1 + noise),
                value("rotation", "r2_pooled_constant", 0, 0.25),
            ];
            let elsewhere = [
                (CellKind::Transfer, ("CIFAR10", "top1", top1 + 0.1 + noise)),
                (CellKind::Segment, ("ADE20K", "mIoU", top1 / 2.0 + noise)),
            ];
            let elsewhere = elsewhere.map(|(kind, found)| downstream(kind, method, seed, &[found]));
            [probe(method, seed, &own)].into_iter().chain(elsewhere)
        })
    };
    let mut cells: Vec<Cell> = of_row("Random init", 0.1, 0.2)
        .chain(of_row("VICReg", 0.3, 0.5))
        .chain(of_row("SIE(rot)", 0.45, 0.4))
        .chain(of_row("Ours", 0.55, 0.48))
        .chain(of_row("Ours, other view 1", 0.5, 0.47))
        .chain(of_row(odd, 0.4, 0.3))
        .collect();
    let energy = Energy { processors_wh: Some(0.5), ..Energy::default() };
    cells.push(Cell {
        views: Some(2000),
        energy: Some(energy),
        ..pretrain("Ours", 0, &[(10, 2.0), (20, 1.5)])
    });
    let energy = Energy::not_available("no counters");
    cells.push(Cell { views: Some(1000), energy: Some(energy), ..pretrain("VICReg", 0, &[(10, 2.0)]) });
    let suite = serde_json::json!({"seeds": 3, "model": {"patch": 8, "head": {"hidden": 256}}, "train": {"lr": 1e-4}});
    let context = ReportContext {
        table: Some(1),
        transfers: vec![TransferColumn { dataset: "CIFAR10".into(), metric: "top1".into() }],
        segmentations: vec!["ADE20K".to_owned()],
        claims: vec![OwnClaim {
            first: "Ours".to_owned(),
            second: odd.to_owned(),
            task: "rotation".to_owned(),
            metric: None,
            margin: 0.1,
        }],
        notes: vec!["Reduced: 100% made up.".to_owned()],
        protocol: choices(&suite, None, "fp32"),
        ..context(
            &["classification", "rotation"],
            &["Random init", "VICReg", "SIE(rot)", "Ours", "Ours, other view 1", odd, "Direct regression"],
        )
    };
    (cells, context)
}

fn held_against(name: &str, found: &str) {
    recorded_text::held_against(&format!("suite/src/report/golden/{name}"), found);
}

#[test]
fn every_format_is_as_it_was() {
    let (cells, context) = report();
    let files = [
        ("terminal", "terminal.txt"),
        ("markdown", "markdown.md"),
        ("csv", "tables.csv"),
        ("latex", "latex.tex"),
        ("html", "page.html"),
        ("json", "claims.json"),
    ];
    // a folder without manifest and pictures, such as a partly copied run
    let nothing = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(nothing.path());
    let contexts = [&context];
    let problems = ["left out: cells/x.json is damaged".to_owned()];
    let report = Report { problems: &problems, ..Report::new(&folder, &cells, &contexts) };
    for (format, name) in files {
        let text = report.render(by_name(format).unwrap()).unwrap();
        held_against(name, &text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
        assert!(format != "html" || !text.contains("<b>50%"), "names are text, not HTML");
    }
}
