//! The row `PCA of the pixels (K)`: it trains nothing, is probed and transferred, and has no halves and no
//! map.

use std::collections::BTreeSet;

use crate::common::{
    cell, eqr, eqr_ranks, folder, has_mpi, photographs, run_args, stderr, succeeded, tiny_on,
};

const ROWS: [&str; 4] =
    ["--methods", "Random init,PCA of the pixels (8)", "--set", "probe.parts=[\"all\", \"inv\", \"equi\"]"];

const PROBE: &str = "probe-pca-of-the-pixels-8-seed0";

#[test]
fn principal_components_are_probed_like_an_encoder_without_a_map() {
    let folder = folder();
    let here = folder.path();
    succeeded(&eqr(here, &run_args("run", &ROWS)));
    let run = here.join("run");
    assert!(!run.join("cells/pretrain-pca-of-the-pixels-8-seed0.json").exists());
    let names = |id: &str| -> BTreeSet<String> {
        let metrics = cell(&run, id)["metrics"].as_array().unwrap().clone();
        metrics.iter().map(|metric| metric["metric"].as_str().unwrap().to_owned()).collect()
    };
    let (components, network) = (names(PROBE), names("probe-random-init-seed0"));
    for name in ["r2_per_output", "r2_per_output_train", "r2_per_output_linear", "top1", "effective_rank"] {
        assert!(components.contains(name) && network.contains(name), "{name}: {components:?}");
    }
    for name in ["r2_per_output_inv", "r2_per_output_equi", "r2_per_output_grid"] {
        assert!(!components.contains(name) && network.contains(name), "{name}: {components:?}");
    }
    let table = std::fs::read_to_string(run.join("tables/table-main.md")).unwrap();
    assert!(table.contains("| PCA of the pixels (8) |"), "{table}");

    // a cell is made once, and several ranks make the same values
    let before = std::fs::read(run.join(format!("cells/{PROBE}.json"))).unwrap();
    std::fs::remove_file(run.join("cells/probe-random-init-seed0.json")).unwrap();
    succeeded(&eqr(here, &run_args("run", &ROWS)));
    assert_eq!(std::fs::read(run.join(format!("cells/{PROBE}.json"))).unwrap(), before);
    for ranks in [2, 3].into_iter().filter(|_| has_mpi()) {
        let out = format!("run-{ranks}");
        succeeded(&eqr_ranks(here, ranks, &run_args(&out, &ROWS)));
        assert_eq!(cell(&here.join(&out), PROBE)["metrics"], cell(&run, PROBE)["metrics"], "{ranks} ranks");
    }
}

#[test]
fn principal_components_of_photographs_are_transferred() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"the test\"\n\n";
    let transfer = "\n[[transfer]]\nfile = \"photos.h5\"\nmade_by = \"the test\"\n";
    std::fs::write(here.join("tiny.toml"), format!("{}{transfer}", tiny_on(data))).unwrap();
    let options = ["--methods", "PCA of the pixels (8)", "--data-root", "."];
    let (rows, dry) = (run_args("run", &options), run_args("run", &["--data-root", ".", "--dry-run"]));
    succeeded(&eqr(here, &rows));
    let found = cell(&here.join("run"), "transfer-photos-pca-of-the-pixels-8-seed0");
    let top1 = found["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "top1").unwrap();
    assert!(top1["value"].as_f64().unwrap() > 0.5, "the classes differ in hue: {top1}");
    let output = eqr(here, &[&dry[..], &["--methods", "Random init,PCA of the pixels (8)"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with(PROBE) && line.ends_with(", done")), "{text}");
}

#[test]
fn a_number_of_components_is_asked_for() {
    let folder = folder();
    let output = eqr(folder.path(), &run_args("run", &["--methods", "PCA of the pixels"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `PCA of the pixels ("), "{}", stderr(&output));
    // 16 x 16 pixels of three channels have 768 components
    let output = eqr(folder.path(), &run_args("run", &["--methods", "PCA of the pixels (900)"]));
    assert_eq!(output.status.code(), Some(2));
    let says = stderr(&output);
    assert!(says.contains("at least 900 columns") && says.contains("ask for fewer components"), "{says}");
}
