//! Readings of Eq. 1 and the controls of Ours: the same losses on any number of ranks, the encoder's gradient
//! by term, what the report says of them, and what is refused.

use std::path::Path;

use crate::common::{cell, eqr, eqr_ranks, folder, has_mpi, run_args, same_losses, stderr, succeeded};

const CONTROLS: [&str; 8] = [
    "--set",
    "methods=[\"Ours\", \"Ours, other view 1\", \"VICReg(cls)\"]",
    "--set",
    "model.decoder.query=pooled",
    "--set",
    "model.decoder.unfold=linear",
    "--set",
    "model.decoder.residual=true",
];

fn log(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn controls_run_on_ranks_and_the_report_says_what_a_reconstruction_uses() {
    let folder = folder();
    succeeded(&eqr(folder.path(), &run_args("one", &CONTROLS)));
    let one = folder.path().join("one");
    let log = log(&one);
    for (id, terms) in [
        ("pretrain-ours-seed0", &["covariance", "invariance", "reconstruction", "variance"][..]),
        ("pretrain-vicreg-cls-seed0", &["covariance", "invariance", "variance"]),
    ] {
        let of_cell = log.iter().filter(|line| line["cell"] == id);
        let measured: Vec<_> = of_cell.filter(|line| line["encoder_gradient"].is_object()).collect();
        // 21 steps: at every tenth and at the last one
        let steps: Vec<u64> = measured.iter().map(|line| line["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [10, 20, 21], "{id}");
        for line in measured {
            let norms = line["encoder_gradient"].as_object().unwrap();
            assert_eq!(norms.keys().collect::<Vec<_>>(), terms, "{id}");
            assert!(norms.values().all(|norm| norm.as_f64().unwrap() > 0.0), "{id}: {line}");
        }
    }
    assert!(one.join("figures/encoder-gradient.png").exists());
    for (file, heading) in [("report.html", "Reconstructions"), ("tables/table-1.md", "Reconstruction")] {
        let Ok(text) = std::fs::read_to_string(one.join(file)) else { continue };
        assert!(text.contains(heading), "{file}");
        for method in ["Ours", "Ours, other view 1"] {
            let said =
                ["used", "ignored"].map(|verdict| text.contains(&format!("{method}: view 1 is {verdict}.")));
            assert!(said[0] != said[1], "{file}: one verdict of {method}");
        }
    }
    if !has_mpi() {
        return;
    }
    for ranks in [2, 3] {
        let out = format!("ranks-{ranks}");
        let args = [&run_args(&out, &CONTROLS)[..], &["--pretrain-only"]].concat();
        succeeded(&eqr_ranks(folder.path(), ranks, &args));
        for method in ["ours", "ours-other-view-1", "vicreg-cls"] {
            same_losses(&one, &folder.path().join(&out), &format!("pretrain-{method}-seed0"), 20);
        }
    }
}

#[test]
fn attention_over_the_batch_does_not_depend_on_ranks_or_micro_batches() {
    let folder = folder();
    let batch = ["--methods", "Ours", "--set", "model.decoder.query=batch", "--pretrain-only"];
    succeeded(&eqr(folder.path(), &run_args("one", &batch)));
    let one = folder.path().join("one");
    let micro = [&batch[..], &["--micro-batch", "5"]].concat();
    succeeded(&eqr(folder.path(), &run_args("micro", &micro)));
    same_losses(&one, &folder.path().join("micro"), "pretrain-ours-seed0", 20);
    if has_mpi() {
        succeeded(&eqr_ranks(folder.path(), 3, &run_args("ranks", &batch)));
        same_losses(&one, &folder.path().join("ranks"), "pretrain-ours-seed0", 20);
        assert!(cell(&one, "pretrain-ours-seed0")["curve"].as_array().is_some());
    }
}

#[test]
fn readings_and_rows_that_cannot_work_are_refused_with_their_reason() {
    let folder = folder();
    for (assignments, part) in [
        (&["model.decoder.source=pooled"][..], "The softmax over one key is 1"),
        (&["model.decoder.query=tokens", "model.decoder.unfold=gates"], "decoder.unfold is for one vector"),
        (&["model.decoder.query=poled"], "did you mean `pooled`"),
        (
            &["model.decoder.query=batch", "methods=[\"Ours, other view 1\"]"],
            "does not depend on the order of the images",
        ),
        (&["methods=[\"Ours, known part\"]"], "train.known_fraction does not leave any out"),
        (&["methods=[\"SIE(rot, own pairs)\"]"], "two renders of an object differ by all of them"),
        (
            &["methods=[\"Direct regression(blur)\"]"],
            "needs the transform `blur`; the suite has rotation, color",
        ),
    ] {
        let sets: Vec<&str> = assignments.iter().flat_map(|assignment| ["--set", assignment]).collect();
        let output = eqr(folder.path(), &run_args("refused", &sets));
        assert_eq!(output.status.code(), Some(2), "{assignments:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(part), "{assignments:?}: {said}");
        assert!(!folder.path().join("refused/manifest.json").exists(), "{assignments:?}");
    }
}
