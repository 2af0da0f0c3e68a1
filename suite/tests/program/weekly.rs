//! `jobscripts/weekly.sh` on series of made weeks: what it compares, keeps and draws, and its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use eqr_bench::run_folder::seal::{seal, unseal};
use serde_json::Value;

use crate::common::{PROGRAM, copy, eqr, folder, output, run_args, succeeded, tiny_run};

/// What the script starts as `mpirun`, and as the program: a run is the folder that was made for it.
const MPIRUN: &str = "#!/bin/sh\nwhile [ \"$1\" != \"$EQR_BENCH\" ]; do shift; done\nexec \"$@\"\n";
const BENCH: &str =
    "#!/bin/sh\nif [ \"$1\" = run ]; then cp -r made/. \"$4\"; else exec \"$REAL_BENCH\" \"$@\"; fi\n";

/// A folder with a series, in which the script finds these programs.
struct Weeks {
    dir: tempfile::TempDir,
}

impl Weeks {
    fn new() -> Weeks {
        let dir = folder();
        for (name, text) in [("mpirun", MPIRUN), ("bench", BENCH)] {
            let path = dir.path().join("programs").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            succeeded(&output(Command::new("chmod").arg("+x").arg(path)));
        }
        Weeks { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Records weeks `first..` of the tiny run, whose trainings took these multiples of their time.
    fn record(&self, first: usize, slowness: &[f64]) {
        for (number, &slowness) in (first..).zip(slowness) {
            let run = self.path(&format!("week-{number}"));
            made_week(tiny_run(), &run, number, slowness);
            succeeded(&eqr(
                self.dir.path(),
                &[
                    "record",
                    run.to_str().unwrap(),
                    "--to",
                    "results/baselines/weekly",
                    "--name",
                    &format!("week-{number}"),
                ],
            ));
        }
    }

    /// Runs the script, whose run is the copy of `run` as week `number`.
    fn script(&self, run: &Path, number: usize, slowness: f64) -> Output {
        let made = self.path("made");
        let _ = std::fs::remove_dir_all(&made);
        made_week(run, &made, number, slowness);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("jobscripts/weekly.sh");
        // the script changes to its own checkout
        let programs = format!("{}:{}", self.path("programs").display(), std::env::var("PATH").unwrap());
        let copied = self.path("jobscripts");
        if !copied.exists() {
            copy(script.parent().unwrap(), &copied);
        }
        let mut command = Command::new(copied.join("weekly.sh"));
        command.env("PATH", programs).env("EQR_BENCH", self.path("programs/bench"));
        command.env("REAL_BENCH", PROGRAM).env("OUT", self.path("out")).env("LAUNCH", "mpirun");
        command.env_remove("SLURM_JOB_ID");
        let _ = std::fs::remove_dir_all(self.path("out"));
        output(&mut command)
    }

    fn recorded(&self) -> usize {
        std::fs::read_dir(self.path("results/baselines/weekly")).map_or(0, Iterator::count)
    }

    fn verdicts(&self) -> String {
        std::fs::read_to_string(self.path("out/compare.txt")).unwrap()
    }

    fn page(&self) -> String {
        std::fs::read_to_string(self.path("out/history.html")).unwrap()
    }
}

/// Copies a run as that of week `number`, whose trainings took `slowness` times their time.
fn made_week(from: &Path, to: &Path, number: usize, slowness: f64) {
    copy(from, to);
    change(to, "manifest.json", |manifest| {
        manifest["provenance"]["started"] = format!("2026-01-{number:02}T03:17:00Z").into();
    });
    change(to, "cells/pretrain-ours-seed0.json", |cell| {
        let seconds = cell["seconds"].as_f64().expect("it was trained");
        cell["seconds"] = (seconds * slowness).into();
    });
}

/// Changes a sealed file, and its hash in the list of cells.
fn change(run: &Path, name: &str, edit: impl FnOnce(&mut Value)) {
    let (file, log) = (run.join(name), run.join("cells.log"));
    let before = unseal(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut value: Value = serde_json::from_str(&before.content).unwrap();
    edit(&mut value);
    let text = seal(&value).unwrap();
    let now = unseal(&text).unwrap().hash;
    std::fs::write(file, text).unwrap();
    let lines = std::fs::read_to_string(&log).unwrap();
    std::fs::write(log, lines.replace(&before.hash, &now)).unwrap();
}

/// The verdict on the speed of `Ours` whose line is told from the others by `which`.
fn of_speed(verdicts: &str, which: impl Fn(&str) -> bool) -> &str {
    let mut lines = verdicts.lines().filter(|line| line.contains("Ours, steps/s") && which(line));
    let line = lines.next().unwrap_or_else(|| panic!("no such line in\n{verdicts}"));
    line.trim_end_matches(['|', ' ']).rsplit("| ").next().unwrap()
}

/// Six weeks of about the same speed.
const STEADY: [f64; 6] = [1.0, 1.004, 0.996, 1.002, 0.998, 1.001];

#[test]
fn the_first_week_is_recorded_and_a_like_one_after_steady_weeks_too() {
    let weeks = Weeks::new();
    succeeded(&weeks.script(tiny_run(), 1, 1.0));
    assert_eq!((weeks.recorded(), weeks.verdicts().contains("no recorded week")), (1, true));
    assert!(weeks.page().contains("<html"), "one week can be drawn");
    weeks.record(2, &STEADY);
    succeeded(&weeks.script(tiny_run(), 20, 1.0));
    let verdicts = weeks.verdicts();
    for which in ["against the anchor", "over 8 runs"] {
        assert_eq!(of_speed(&verdicts, |line| line.contains(which)), "ok", "{verdicts}");
    }
    assert_eq!(weeks.recorded(), 8);
    assert!(weeks.path("out/junit.xml").exists());
}

/// Five weeks, then five slower ones: among ten of both speeds, a slow week is none that stands out.
#[test]
fn a_decline_that_the_series_has_followed_is_seen_against_its_first_weeks() {
    let weeks = Weeks::new();
    weeks.record(1, &[1.0, 1.004, 0.996, 1.002, 0.998, 1.2, 1.204, 1.196, 1.202, 1.198]);
    let output = weeks.script(tiny_run(), 20, 1.2);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let verdicts = weeks.verdicts();
    let against_anchor = of_speed(&verdicts, |line| line.contains("against the anchor"));
    let against_all = of_speed(&verdicts, |line| !line.contains("against") && !line.contains("over "));
    assert_eq!((against_anchor, against_all), ("regression", "ok"), "{verdicts}");
    assert_eq!(weeks.recorded(), 10, "a week that became worse is not recorded");
    assert!(weeks.page().contains("week-10"), "the page is drawn all the same");
}

#[test]
fn a_new_definition_begins_a_new_series() {
    let weeks = Weeks::new();
    weeks.record(1, &STEADY);
    let other = weeks.path("other");
    succeeded(&eqr(weeks.dir.path(), &run_args("other", &["--set", "train.epochs=3"])));
    succeeded(&weeks.script(&other, 20, 1.0));
    assert!(weeks.verdicts().contains("the definition differs"), "{}", weeks.verdicts());
    assert_eq!(weeks.recorded(), 7);
}
