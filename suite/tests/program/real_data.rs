//! Real archives in `$EQR_SHARED/data`, by default `../shared/data` beside the checkout. `EQR_TEST_FULL=1`
//! (`make test-full`) also trains on them.

use crate::common::{cell, eqr, folder, shared, stderr, succeeded, takes_long};

#[test]
fn cifar10_packs_whole_out_of_its_archive_and_can_be_trained_on() {
    let Some(archive) = shared("cifar10-jpg.tar.gz") else { return };
    let folder = folder();
    let here = folder.path();
    let packed = eqr(here, &["data", "pack", "cifar10", archive.to_str().unwrap(), "--out", "cifar10.h5"]);
    succeeded(&packed);
    assert!(stderr(&packed).contains("50000 train and 10000 test images of 32 x 32 in 10 classes"));
    succeeded(&eqr(here, &["data", "verify", "cifar10.h5"]));

    if !takes_long() {
        return;
    }
    let methods = "Random init,Supervised,Direct regression";
    let args =
        ["run", "cifar10-reduced", "--out", "run", "--data-root", ".", "--seeds", "1", "--methods", methods];
    succeeded(&eqr(here, &args));
    let mean = |id: &str, task: &str, metric: &str| {
        let cell = cell(&here.join("run"), id);
        let rows =
            cell["metrics"].as_array().unwrap().iter().filter(|m| m["task"] == task && m["metric"] == metric);
        let values: Vec<f64> = rows.map(|m| m["value"].as_f64().unwrap()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let gain = |method: &str, task: &str, metric: &str| {
        mean(&format!("probe-{method}-seed0"), task, metric) - mean("probe-random-init-seed0", task, metric)
    };
    assert!(gain("supervised", "classification", "top1") > 0.05);
    assert!(gain("direct-regression", "rotation", "r2_per_output") > 0.1);
    assert!(gain("direct-regression", "blur", "r2_per_output") > 0.1);
}

#[test]
fn real_meshes_render_straight_out_of_their_archive() {
    let Some(archive) = shared("capod-15x12-obj.tar.gz") else { return };
    let folder = folder();
    let here = folder.path();
    let meshes = archive.to_str().unwrap();
    let args = [
        "data", "generate", "solids", "--meshes", meshes, "--name", "CAPOD", "--side", "32", "--views", "2",
        "--out", "c.h5",
    ];
    let rendered = eqr(here, &args);
    succeeded(&rendered);
    assert!(stderr(&rendered).contains("in 15 classes"), "{}", stderr(&rendered));
    succeeded(&eqr(here, &["data", "show", "c.h5", "--out", "grid.png"]));
    assert!(image::open(here.join("grid.png")).unwrap().width() > 300);
}
