//! `bench`: the fixed work, its check, and scaling over ranks.

use serde_json::Value;

use crate::common::{eqr, eqr_ranks, folder, has_mpi, is_refusal, succeeded, takes_long};

#[test]
fn the_recorded_steps_are_taken_on_one_rank_and_on_three() {
    let folder = folder();
    let here = folder.path();
    let check = |out: &'static str| {
        ["bench", "--check-only", "--json", "--threads", "1", "--precision", "fp32", "--out", out]
    };
    let one = eqr(here, &check("one"));
    succeeded(&one);
    let found: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!((&found["definition"], &found["valid"]), (&"tiny-1".into(), &true.into()), "{found}");
    let [difference, bound] =
        ["differences", "bounds"].map(|key| found["check"][key]["loss"].as_f64().unwrap());
    assert!(difference <= bound, "{found}");
    if has_mpi() {
        succeeded(&eqr_ranks(here, 3, &check("three")));
    }
    // a time of which a part was done before is none
    is_refusal(&eqr(here, &check("one")), &["one/check is of an earlier call", "hint: name a new folder"]);
}

/// The parts are those of the time, and the table of scaling has a row for each number of ranks.
#[test]
fn the_work_has_a_time_made_of_parts_and_scales() {
    if !takes_long() || !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let bench = ["bench", "--threads", "1", "--precision", "fp32", "--json", "--out"];
    let done = eqr_ranks(here, 2, &[&bench[..], &["work", "--repeat", "2"]].concat());
    succeeded(&done);
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    let parts = found["parts"].as_object().unwrap();
    let sum: f64 = parts.values().map(|part| part.as_f64().unwrap()).sum();
    let seconds = found["seconds"].as_f64().unwrap();
    assert_eq!(parts.len(), 8, "{found}");
    assert!((sum - seconds).abs() < 1e-6 * seconds, "{found}");
    assert!(parts.values().all(|part| part.as_f64().unwrap() >= 0.0), "{found}");
    let repeats = found["seconds_of_repeats"].as_array().unwrap();
    let least = repeats.iter().map(|seconds| seconds.as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!((repeats.len(), seconds), (2, least), "of two, the smaller is the median: {found}");
    assert!(here.join("work/bench.json").is_file());
    for scaling in ["strong", "weak"] {
        let table = eqr_ranks(here, 2, &[&bench[..], &["scales", "--scaling", scaling]].concat());
        succeeded(&table);
        let found: Value = serde_json::from_slice(&table.stdout).unwrap();
        let points = found["points"].as_array().unwrap();
        let ranks: Vec<u64> = points.iter().map(|point| point["ranks"].as_u64().unwrap()).collect();
        assert_eq!(ranks, [1, 2]);
        assert_eq!(points[0]["steps"], points[1]["steps"]);
    }
}
