//! `run --until-decided`: seeds are added until the claims of the suite are decided.

use std::path::Path;

use crate::common::{TINY, eqr, eqr_ranks, folder, has_mpi, run_args, stderr, succeeded};

/// A claim that every pair of seeds decides: no R2 lies 100 below another here.
const CLEAR: &str = "
[[claim]]
first = \"Ours\"
second = \"Random init\"
task = \"rotation\"
margin = -100.0
";

/// A claim that three seeds do not decide: both rows read about the same.
const CLOSE: &str = "
[[claim]]
first = \"Ours\"
second = \"Random init\"
task = \"classification\"
";

/// A folder with the tiny suite and these claims.
fn folder_with(claims: &[&str]) -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("tiny.toml"), format!("{TINY}{}", claims.concat())).unwrap();
    folder
}

/// Arguments of a run of 2 to 3 seeds. On several ranks, each of them trains by itself, so that the numbers
/// do not depend on the number of ranks.
fn until_decided(out: &str) -> Vec<&str> {
    run_args(out, &["--seeds", "2", "--until-decided", "--max-seeds", "3", "--ranks-per-cell", "1"])
}

/// Number of seeds of which the run has all cells.
fn seeds(run: &Path) -> usize {
    let has = |seed: &usize| {
        let cells = ["pretrain-ours", "probe-ours", "probe-random-init"];
        let found = cells.map(|cell| run.join(format!("cells/{cell}-seed{seed}.json")).exists());
        assert!(found.iter().all(|cell| *cell == found[0]), "seed {seed}: all cells or none");
        found[0]
    };
    (0..10).filter(has).count()
}

#[test]
fn the_run_stops_when_all_claims_are_decided() {
    let folder = folder_with(&[CLEAR]);
    let here = folder.path();
    let output = eqr(here, &until_decided("run"));
    succeeded(&output);
    assert!(stderr(&output).contains("after 2 seeds, 1 of 1 claims are decided\n"), "{}", stderr(&output));
    assert_eq!(seeds(&here.join("run")), 2);
    let manifest = std::fs::read_to_string(here.join("run/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let configuration = &manifest["configuration"];
    assert_eq!(configuration["until_decided"]["max_seeds"], 3);
    assert_eq!(configuration["suite"]["claim"][0]["margin"], -100.0, "the claims are fixed");
    assert_eq!(configuration["suite"]["seeds"], 2);
}

#[test]
fn the_run_goes_on_while_a_claim_is_open_and_is_continued_by_the_same_command() {
    let folder = folder_with(&[CLEAR, CLOSE]);
    let here = folder.path();
    let output = eqr(here, &until_decided("run"));
    succeeded(&output);
    let text = stderr(&output);
    assert!(text.contains("after 2 seeds, 1 of 2 claims are decided; another seed follows"), "{text}");
    assert!(text.contains("after 3 seeds, 1 of 2 claims are decided; this was the last seed"), "{text}");
    let run = here.join("run");
    assert_eq!(seeds(&run), 3);
    let metrics = || std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let before = metrics();

    // interrupted in the second look, with a cell of the first one lost
    for cell in ["probe-ours-seed1", "probe-ours-seed2", "probe-random-init-seed2"] {
        std::fs::remove_file(run.join(format!("cells/{cell}.json"))).unwrap();
    }
    let output = eqr(here, &until_decided("run"));
    succeeded(&output);
    assert!(stderr(&output).contains("after 2 seeds, 1 of 2 claims are decided; another seed follows"));
    assert_eq!(before, metrics());

    // the looks are part of what the run is
    let other = run_args("run", &["--seeds", "2", "--until-decided", "--max-seeds", "5"]);
    for (args, differs) in [
        (&other[..], "until_decided.max_seeds: the folder has 3, this call 5"),
        (&run_args("run", &["--seeds", "2"]), "until_decided.max_seeds: the folder has 3, this call nothing"),
    ] {
        let output = eqr(here, args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(differs), "{}", stderr(&output));
    }

    if !has_mpi() {
        return;
    }
    let output = eqr_ranks(here, 2, &until_decided("ranks"));
    succeeded(&output);
    assert_eq!(stderr(&output).matches("another seed follows").count(), 1, "{}", stderr(&output));
    assert_eq!(seeds(&here.join("ranks")), 3);
    assert_eq!(before, std::fs::read_to_string(here.join("ranks/metrics.csv")).unwrap());
}

#[test]
fn options_are_checked_before_the_first_cell() {
    let folder = folder_with(&[CLEAR]);
    let here = folder.path();
    let cases: [(&[&str], &str); 4] = [
        (&["--until-decided"], "seeds = 1: the first test needs at least 2"),
        (&["--until-decided", "--seeds", "4", "--max-seeds", "3"], "the suite begins with 4 seeds"),
        (&["--max-seeds", "3"], "--until-decided"),
        (&["--seeds", "2", "--until-decided", "--pretrain-only"], "cannot be used with"),
    ];
    for (more, says) in cases {
        let output = eqr(here, &run_args("run", more));
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{more:?}: {}", stderr(&output));
        assert!(!here.join("run").exists());
    }
}

/// A seed has a training and two probes.
#[test]
fn a_dry_run_says_the_range_of_seeds() {
    let folder = folder_with(&[CLEAR]);
    let output = eqr(folder.path(), &[&until_decided("run")[..], &["--dry-run"]].concat());
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 rows x 2 seeds, up to 3 until the claims are decided\n",
        "\ntotal: 6 cells, 0 done, 6 left",
        "\nwith all seeds: 9 cells, 0 done, 9 left",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let further: Vec<&str> =
        text.lines().filter(|line| line.ends_with(", if a claim is still open")).collect();
    assert_eq!(further.len(), 3, "{text}");
    assert!(further.iter().all(|line| line.contains("-seed2 ")), "{text}");
}
