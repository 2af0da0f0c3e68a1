//! A number in a table is the number that was measured, whatever happened to the files of the run since.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{
    PROGRAM, TINY, copy, eqr, folder, long_args, photographs, run_args, spawn, stderr, succeeded, tiny_on,
    tiny_run, wait_for_checkpoints,
};

/// A folder with a copy of the tiny run.
fn copied() -> tempfile::TempDir {
    let here = folder();
    copy(tiny_run(), &here.path().join("run"));
    here
}

fn continued(here: &Path) -> std::process::Output {
    eqr(here, &run_args("run", &[]))
}

fn metrics(run: &Path) -> Vec<u8> {
    fs::read(run.join("metrics.csv")).unwrap()
}

fn says(output: &std::process::Output, code: i32, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[test]
fn cells_that_were_changed_copied_or_removed_are_named_and_made_anew() {
    let whole = metrics(tiny_run());
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let damages: [Damage; 5] = [
        (
            "a digit",
            &|cells| {
                let path = cells.join("probe-ours-seed0.json");
                let text = fs::read_to_string(&path).unwrap();
                let at = text.find("\"value\": 0.").unwrap() + "\"value\": 0.".len();
                let digit = if &text[at..=at] == "7" { "8" } else { "7" };
                fs::write(&path, format!("{}{digit}{}", &text[..at], &text[at + 1..])).unwrap();
            },
            "probe-ours-seed0.json is damaged",
        ),
        (
            "a copy over another",
            &|cells| {
                fs::copy(cells.join("probe-random-init-seed0.json"), cells.join("probe-ours-seed0.json"))
                    .unwrap();
            },
            "probe-ours-seed0.json holds the cell probe-random-init-seed0",
        ),
        (
            "a second copy",
            &|cells| {
                fs::copy(cells.join("probe-ours-seed0.json"), cells.join("copy.json")).unwrap();
            },
            "copy.json holds the cell probe-ours-seed0",
        ),
        (
            "none",
            &|cells| fs::remove_file(cells.join("probe-ours-seed0.json")).unwrap(),
            "probe-ours-seed0.json is gone",
        ),
        (
            "cut",
            &|cells| fs::write(cells.join("probe-ours-seed0.json"), "{\n").unwrap(),
            "probe-ours-seed0.json is damaged",
        ),
    ];
    for (name, damage, problem) in damages {
        let here = copied();
        let run = here.path().join("run");
        damage(&run.join("cells"));
        says(&eqr(here.path(), &["report", "run"]), 2, &["left out: ", problem]);
        says(&eqr(here.path(), &["compare", "run", "run"]), 2, &[problem]);
        says(&eqr(here.path(), &["verify", "run"]), 2, &[problem, "--repair"]);
        let again = continued(here.path());
        says(&again, 0, &[problem, "made anew"]);
        assert_eq!(metrics(&run), whole, "{name}");
        says(&eqr(here.path(), &["verify", "run"]), 0, &[]);
    }
}

#[test]
fn verify_repairs_what_the_cells_give() {
    let here = copied();
    let run = here.path().join("run");
    says(&eqr(here.path(), &["verify", "run"]), 0, &[]);
    fs::write(run.join("metrics.csv"), "").unwrap();
    fs::remove_file(run.join("tables/table-main.md")).unwrap();
    fs::write(run.join("cells/.eqr-AbCdEf.part"), "half").unwrap();
    let found = eqr(here.path(), &["verify", "run"]);
    says(&found, 2, &["metrics.csv is not what this program makes", "table-main.md is gone", "--repair"]);
    says(&eqr(here.path(), &["verify", "run", "--repair"]), 0, &[]);
    assert_eq!(metrics(&run), metrics(tiny_run()));
    assert!(!run.join("cells/.eqr-AbCdEf.part").exists());

    let recorded = eqr(here.path(), &["record", "run", "--to", "series", "--name", "one"]);
    succeeded(&recorded);
    let verified = eqr(here.path(), &["verify", "series/one"]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("a recorded run has no checkpoints"));
    assert!(!stderr(&verified).contains("checkpoints"), "{}", stderr(&verified));

    let checkpoint =
        fs::read_dir(run.join("checkpoints/ours-seed0")).unwrap().flatten().next().unwrap().path();
    fs::write(checkpoint.join("parameters.safetensors"), "").unwrap();
    says(&eqr(here.path(), &["verify", "run"]), 2, &["a damaged checkpoint", "parameters.safetensors"]);
    says(&eqr(here.path(), &["verify", "nowhere"]), 2, &["holds no run"]);
    // a run keeps the encoder at the end of a training, and removes older ones itself
    fs::remove_dir_all(run.join("checkpoints/ours-seed0")).unwrap();
    let gone = ["ours-seed0/step-21 is gone", "cells/pretrain-ours-seed0.json"];
    says(&eqr(here.path(), &["verify", "run"]), 2, &gone);
}

/// The exit code and messages of a training during which `interfere` changes its folder.
fn interfered(interfere: impl Fn(&Path)) -> std::process::Output {
    let here = folder();
    let run = here.path().join("run");
    let mut command = Command::new(PROGRAM);
    command.args(long_args("run")).current_dir(here.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = spawn(&mut command);
    wait_for_checkpoints(&run, 1);
    interfere(&run);
    child.wait_with_output().unwrap()
}

#[test]
fn a_run_that_loses_its_files_does_not_succeed() {
    let gone = interfered(|run| fs::remove_file(run.join("manifest.json")).unwrap());
    says(&gone, 3, &["manifest.json is gone", "hint: "]);
    let gone = interfered(|run| fs::rename(run, run.with_extension("moved")).unwrap());
    says(&gone, 3, &["hint: "]);
    let gone = interfered(|run| {
        let training = run.join("cells/pretrain-ours-seed0.json");
        let deadline = Instant::now() + Duration::from_secs(120);
        while !training.exists() {
            assert!(Instant::now() < deadline, "the training does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::remove_file(training).unwrap();
    });
    says(&gone, 3, &["pretrain-ours-seed0.json is gone", "no report is written", "hint: run again"]);
}

#[test]
fn a_beginning_that_was_cut_short_is_taken_up() {
    let here = folder();
    let run = here.path().join("run");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join(".eqr-AbCdEf.part"), "half a manifest").unwrap();
    fs::write(run.join(".eqr-elsewhere-12.part"), "").unwrap();
    succeeded(&continued(here.path()));
    assert!(!run.join(".eqr-AbCdEf.part").exists() && !run.join(".eqr-elsewhere-12.part").exists());

    // killed right after the manifest
    for lost in ["cells", "cells.log", "report.json", "rows.json"] {
        let path = run.join(lost);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else if path.exists() {
            fs::remove_file(path).unwrap()
        }
    }
    succeeded(&continued(here.path()));
    assert_eq!(metrics(&run), metrics(tiny_run()));
}

#[test]
fn a_damaged_manifest_is_rebuilt_by_the_call_that_made_it() {
    let here = copied();
    let run = here.path().join("run");
    let manifest = run.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"batch\": 25", "\"batch\": 27")).unwrap();
    says(&eqr(here.path(), &["compare", "run", "run"]), 2, &["manifest.json is damaged"]);
    let other = eqr(here.path(), &run_args("run", &["--set", "train.epochs=8"]));
    says(&other, 2, &["manifest.json is damaged", "cannot be rebuilt", "hint: repeat the options"]);
    assert!(!stderr(&other).contains("the folder has"), "a flipped bit is no other configuration");
    says(&continued(here.path()), 0, &["manifest.json is damaged", "it is rebuilt"]);
    fs::remove_file(&manifest).unwrap();
    says(&continued(here.path()), 0, &["manifest.json is gone", "it is rebuilt"]);
    let probe = run.join("cells/probe-ours-seed0.json");
    let before = fs::read(&probe).unwrap();
    fs::remove_file(run.join("cells.log")).unwrap();
    says(&continued(here.path()), 0, &["cells.log was gone", "listed again"]);
    assert_eq!(fs::read(&probe).unwrap(), before, "no cell is measured again");
    says(&eqr(here.path(), &["verify", "run"]), 0, &[]);
    assert_eq!(metrics(&run), metrics(tiny_run()));
}

#[test]
fn an_image_that_was_changed_ends_the_run_with_its_name() {
    let here = folder();
    photographs(here.path());
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"x\"\n";
    fs::write(here.path().join("tiny.toml"), tiny_on(data)).unwrap();
    let pack = here.path().join("photos.h5");
    let mut bytes = fs::read(&pack).unwrap();
    // the pixels are the largest part of the file; its middle is one of them
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&pack, bytes).unwrap();
    let output = eqr(here.path(), &run_args("run", &["--data-root", "."]));
    says(&output, 2, &["photos.h5", "image", "is damaged: its bytes do not have the recorded checksum"]);

    // rendered data of the run itself
    let here = copied();
    let pack = here.path().join("run/data/solids.h5");
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&pack, bytes).unwrap();
    says(&continued(here.path()), 0, &["solids.h5", "is damaged", "it is rendered anew"]);
    assert_eq!(metrics(&here.path().join("run")), metrics(tiny_run()));
}

#[test]
fn what_a_run_writes_stays_in_its_folder() {
    let here = folder();
    let renamed = TINY.replace("name = \"solids\"", "name = \"../../keep\"");
    fs::write(here.path().join("tiny.toml"), renamed).unwrap();
    fs::create_dir(here.path().join("deep")).unwrap();
    fs::write(here.path().join("keep.h5"), "kept").unwrap();
    let args = run_args("deep/run", &["--methods", "Random init"]);
    succeeded(&eqr(here.path(), &args));
    assert_eq!(fs::read(here.path().join("keep.h5")).unwrap(), b"kept");
    assert!(here.path().join("deep/run/data/keep.h5").is_file());

    // a row whose name is longer than a file's name may be
    let name = "x".repeat(400);
    fs::write(
        here.path().join("r.csv"),
        "dataset,task,metric,value\n../../keep,rotation,r2_per_output,0.3\n",
    )
    .unwrap();
    succeeded(&eqr(here.path(), &[&args[..], &["--external", &format!("{name}=r.csv")]].concat()));

    let linked = here.path().join("linked");
    copy(&here.path().join("deep/run"), &linked);
    for (link, target) in [("data", "deep"), ("log.jsonl", "keep.h5")] {
        let path = linked.join(link);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        std::os::unix::fs::symlink(here.path().join(target), &path).unwrap();
        let output = eqr(here.path(), &run_args("linked", &["--methods", "Random init"]));
        says(&output, 2, &[link, "is a link", "hint: remove it"]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
    }
    assert_eq!(fs::read(here.path().join("keep.h5")).unwrap(), b"kept");
}

/// Files whose content stands in no table: messages, times, and pictures for the eye.
fn holds_no_number(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    ["log.jsonl", "timing.json"].contains(&name.as_str()) || name.starts_with("reconstruction-")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all.sort();
    all
}

/// Flips at a time: most of their time goes to starting processes.
const WORKERS: usize = 6;

/// What came of a flipped bit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A command named the file and ended with an error.
    Refused,
    /// `run` made the file, or what it holds, anew.
    MadeAnew,
    /// The file holds no number.
    Harmless,
    /// Another number, or no word of the file.
    SilentlyWrong,
}

impl Outcome {
    const ALL: [Outcome; 4] =
        [Outcome::Refused, Outcome::MadeAnew, Outcome::Harmless, Outcome::SilentlyWrong];
}

/// The kind of a run's file, as a row of the table.
fn kind(file: &Path) -> &'static str {
    let path = file.to_string_lossy();
    let is_of = |beginning: &str, end: &str| path.starts_with(beginning) && path.ends_with(end);
    match &*path {
        "manifest.json" => "`manifest.json`",
        "cells.log" => "`cells.log`",
        "report.json" | "rows.json" => "`report.json`, `rows.json`",
        "metrics.csv" | "report.html" => "`metrics.csv`, `report.html`",
        "log.jsonl" | "timing.json" => "`log.jsonl`, `timing.json`",
        _ if is_of("cells/", ".json") => "`cells/*.json`",
        _ if is_of("checkpoints/", ".safetensors") => "`checkpoints/*/*.safetensors`",
        _ if is_of("checkpoints/", ".json") => "`checkpoints/*/manifest.json`",
        _ if is_of("data/", ".h5") => "`data/*.h5`",
        _ if holds_no_number(file) => "`figures/`: pictures of reconstructions",
        _ if is_of("figures/", ".png") => "`figures/`: curves",
        _ if is_of("tables/", "") => "`tables/`",
        other => panic!("{other}: a file of no kind"),
    }
}

/// Flips a bit of `name` in a copy of a run, and calls `report`, `verify` and `run`.
fn flipped(flip: usize, name: &Path, here: &Path, expected: &[u8]) -> Outcome {
    let (whole, run) = (tiny_run(), here.join("run"));
    let draw = |what: &str, below: usize| {
        let hash = blake3::hash(format!("{what} {flip}").as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) as usize % below
    };
    let mut bytes = fs::read(run.join(name)).unwrap();
    let (byte, bit) = (draw("byte", bytes.len()), draw("bit", 8));
    bytes[byte] ^= 1 << bit;
    fs::write(run.join(name), &bytes).unwrap();
    let wrong = |why: &str| {
        eprintln!("flip {flip}: {}, byte {byte}, bit {bit}: {why}", name.display());
        Outcome::SilentlyWrong
    };

    let reported = eqr(here, &["report", "run", "--format", "csv"]);
    if reported.status.success() && reported.stdout != expected {
        return wrong("another report");
    }
    let named = eqr(here, &["verify", "run"]).status.code() == Some(2);
    if !named && !holds_no_number(name) {
        return wrong("verify does not name it");
    }
    let again = continued(here);
    let said = stderr(&again);
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match again.status.code() {
        Some(2 | 3) if says(&["damaged", "gone", "not the cell"]) => Outcome::Refused,
        Some(0) if metrics(&run) != metrics(whole) => wrong("other numbers"),
        Some(0) if says(&["anew", "rebuilt", "listed again"]) => Outcome::MadeAnew,
        Some(0) if fs::read(run.join(name)).ok() == fs::read(whole.join(name)).ok() => Outcome::MadeAnew,
        // what no further training reads
        Some(0) if named => Outcome::Refused,
        Some(0) => Outcome::Harmless,
        other => wrong(&format!("exit code {other:?}: {said}")),
    }
}

/// Flips one bit after the other in files of every kind. `report` and a further `run` either give what they
/// gave before, or name a problem; `verify` names every flip in a file that holds numbers.
#[test]
fn no_flipped_bit_changes_a_number_silently() {
    let whole = tiny_run();
    let names: Vec<PathBuf> =
        files(whole).iter().map(|path| path.strip_prefix(whole).unwrap().to_owned()).collect();
    let flips = if std::env::var_os("EQR_TEST_FULL").is_some() { 520 } else { names.len() };
    // every file in turn, then another place in each
    let next = AtomicUsize::new(0);
    let work = || {
        let here = copied();
        let run = here.path().join("run");
        let expected = eqr(here.path(), &["report", "run", "--format", "csv"]).stdout;
        let mut outcomes = Vec::new();
        loop {
            let flip = next.fetch_add(1, Ordering::Relaxed);
            if flip >= flips {
                return outcomes;
            }
            let name = &names[flip % names.len()];
            outcomes.push((kind(name), flipped(flip, name, here.path(), &expected)));
            fs::remove_dir_all(&run).unwrap();
            copy(whole, &run);
        }
    };
    let outcomes: Vec<(&str, Outcome)> = std::thread::scope(|scope| {
        let workers = [(); WORKERS].map(|()| scope.spawn(work));
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    println!("{}", table_of(&outcomes));
    let wrong = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::SilentlyWrong).count();
    assert_eq!(wrong, 0, "of {flips} flips");
}

/// The table of docs/suites.md.
fn table_of(outcomes: &[(&str, Outcome)]) -> String {
    let mut kinds: Vec<&str> = outcomes.iter().map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let line = |name: &str, of: &dyn Fn(&str) -> bool| {
        let own: Vec<Outcome> =
            outcomes.iter().filter(|(kind, _)| of(kind)).map(|(_, found)| *found).collect();
        let count = |wanted: Outcome| own.iter().filter(|found| **found == wanted).count();
        let counts = Outcome::ALL.map(|outcome| format!(" {} |", count(outcome))).concat();
        format!("| {name} | {} |{counts}\n", own.len())
    };
    let head = "| file | flips | refused by name | made anew | harmless | silently wrong |\n\
                |---|---:|---:|---:|---:|---:|\n";
    let rows: String = kinds.iter().map(|kind| line(kind, &|other| other == *kind)).collect();
    format!("{head}{rows}{}", line("all", &|_| true))
}
