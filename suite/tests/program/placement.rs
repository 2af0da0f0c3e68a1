//! Measurements are taken by the ranks that are free. Who takes which does not change their values.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::common::{eqr, eqr_ranks, folder, has_mpi, stderr, succeeded};
use crate::external_rows::suite;

/// Trainings, an encoder from a file, features and probes along the trainings, of very different costs.
fn args(out: &str) -> Vec<&str> {
    let run = ["run", "rows.toml", "--out", out, "--data-root", ".", "--threads", "1", "--precision", "fp32"];
    let cells =
        ["--methods", "Random init,Ours,VICReg", "--ranks-per-cell", "1", "--set", "train.probe_every=3"];
    [&run[..], &cells].concat()
}

/// What every cell found, by its id.
fn found(run: &Path) -> BTreeMap<String, [Value; 3]> {
    let read = |file: std::fs::DirEntry| {
        let cell: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        let of = |key: &str| cell[key].clone();
        (cell["id"].as_str().unwrap().to_owned(), [of("metrics"), of("encoder"), of("resampled")])
    };
    std::fs::read_dir(run.join("cells")).unwrap().flatten().map(read).collect()
}

#[test]
fn three_ranks_find_what_one_finds() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let one = eqr(here, &args("one"));
    succeeded(&one);
    // before the run for the probes and for transfer, and then once for both
    assert_eq!(stderr(&one).matches("encoder colours.pt: ").count(), 3, "{}", stderr(&one));
    if !has_mpi() {
        return;
    }
    succeeded(&eqr_ranks(here, 3, &args("three")));
    let [one, three] = ["one", "three"].map(|run| found(&here.join(run)));
    assert!(one.len() > 10 && one.keys().any(|id| id.contains("-step")), "{:?}", one.keys());
    assert_eq!(Vec::from_iter(one.keys()), Vec::from_iter(three.keys()));
    for (id, own) in &one {
        assert_eq!(own, &three[id], "{id}");
    }
    let left = std::fs::read_dir(here.join("three")).unwrap().flatten();
    let left: Vec<String> = left.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.starts_with("taken-")), "{left:?}");
}
