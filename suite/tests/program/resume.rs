//! An interrupted run that is started again ends with the metrics of an uninterrupted one, even if its newest
//! checkpoint is damaged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{
    PROGRAM, cell, copy, eqr, eqr_ranks, folder, has_mpi, kill_after_checkpoints, long_args, long_run,
    output, run_args, stderr, succeeded, tiny_run,
};

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.csv")).unwrap()
}

/// Checkpoints of the run's only training, newest first.
fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let folder = run.join("checkpoints/ours-seed0");
    let step = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|path| Some((step(&path)?, path))).collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() - 5]).unwrap();
}

#[test]
fn interrupted_and_resumed_equals_uninterrupted_also_from_damaged_checkpoints() {
    let folder = folder();
    let here = folder.path();
    let whole = long_run();
    assert_eq!(checkpoints(whole).len(), 2, "the two newest are kept");

    kill_after_checkpoints(
        Command::new(PROGRAM).args(long_args("cut")).current_dir(here),
        &here.join("cut"),
        2,
    );
    assert!(!here.join("cut/cells/pretrain-ours-seed0.json").exists(), "killed before the end");
    let [newest, older] = checkpoints(&here.join("cut")).try_into().expect("two checkpoints");
    let names = [&newest, &older].map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());

    /// Damages the newer of two checkpoints, or both.
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage, &[&str]); 7] = [
        ("nothing", |_, _| (), &[]),
        (
            "bit",
            |new, _| flip_a_bit(&new.join("parameters.safetensors")),
            &["parameters.safetensors", "checksum"],
        ),
        (
            "moment",
            |new, _| flip_a_bit(&new.join("optimizer.safetensors")),
            &["optimizer.safetensors", "checksum"],
        ),
        (
            "cut-short",
            |new, _| truncate(&new.join("optimizer.safetensors")),
            &["optimizer.safetensors", "bytes"],
        ),
        ("manifest", |new, _| flip_a_bit(&new.join("manifest.json")), &["manifest.json"]),
        (
            "missing",
            |new, _| std::fs::remove_file(new.join("optimizer.safetensors")).unwrap(),
            &["optimizer"],
        ),
        (
            "both",
            |new, old| [new, old].iter().for_each(|folder| truncate(&folder.join("parameters.safetensors"))),
            &["starts over"],
        ),
    ];
    for (name, damage, says) in damages {
        let run = here.join(name);
        copy(&here.join("cut"), &run);
        let [new, old] = names.clone().map(|step| run.join("checkpoints/ours-seed0").join(step));
        damage(&new, &old);
        let output = eqr(here, &long_args(name));
        succeeded(&output);
        let text = stderr(&output);
        let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
        for part in says {
            assert!(text.contains(part), "{name} should say `{part}`: {text}");
            assert!(log.contains(part), "{name}: the log should say `{part}`: {log}");
        }
        let falls_back = !says.is_empty() && name != "both";
        assert_eq!(
            text.contains(&format!("falling back to {}", names[1])),
            falls_back || name == "both",
            "{text}"
        );
        assert_eq!(metrics(whole), metrics(&run), "{name}");
        let (whole, resumed) = (cell(whole, "pretrain-ours-seed0"), cell(&run, "pretrain-ours-seed0"));
        assert_eq!(whole["curve"], resumed["curve"], "{name}");
        assert_eq!(
            (&whole["resumed"], &resumed["resumed"]),
            (&false.into(), &(name != "both").into()),
            "{name}"
        );
        assert_eq!(new.with_extension("damaged").exists(), !says.is_empty(), "{name}: set aside, not lost");
    }

    // a third call has nothing to do
    let probe = here.join("bit/cells/probe-ours-seed0.json");
    let before = std::fs::metadata(&probe).unwrap().modified().unwrap();
    succeeded(&eqr(here, &long_args("bit")));
    assert_eq!(before, std::fs::metadata(&probe).unwrap().modified().unwrap());
}

#[test]
fn another_number_of_ranks_may_go_on() {
    let folder = folder();
    let here = folder.path();
    // few steps, so that rounding errors stay small
    let args =
        |out| run_args(out, &["--methods", "Ours", "--set", "train.epochs=6", "--set", "train.lr=1e-3"]);
    if !has_mpi() {
        return;
    }
    succeeded(&eqr(here, &args("whole")));
    // only the checkpoint before the last is left
    succeeded(&eqr_ranks(here, 2, &args("cut")));
    let run = here.join("cut");
    let newest = &checkpoints(&run)[0];
    std::fs::remove_dir_all(newest).unwrap();
    std::fs::remove_dir_all(run.join("cells")).unwrap();
    std::fs::create_dir(run.join("cells")).unwrap();
    succeeded(&eqr(here, &args("cut")));
    let (whole, cut) = (cell(&here.join("whole"), "pretrain-ours-seed0"), cell(&run, "pretrain-ours-seed0"));
    assert_eq!(cut["resumed"], true);
    let loss = |cell: &serde_json::Value| {
        cell["curve"].as_array().unwrap().last().unwrap()["terms"]["loss"].as_f64().unwrap()
    };
    let (a, b) = (loss(&whole), loss(&cut));
    assert!((a - b).abs() <= 1e-4 * a.abs(), "{a} {b}");
}

#[test]
fn checkpoints_of_another_architecture_or_precision_are_refused() {
    let folder = folder();
    let here = folder.path();
    let run = |out, extra: &[&str]| {
        let all =
            [&["run", "tiny.toml", "--out", out, "--threads", "1", "--methods", "Ours"], extra].concat();
        eqr(here, &all)
    };
    let cases: [(&str, &[&str], &[&str]); 2] = [
        (
            "wide",
            &["--precision", "fp32", "--set", "model.dim=48"],
            &["blocks.0.attn.qkv.weight: the checkpoint has [96, 32], this run [144, 48]", "pos_embed: "],
        ),
        ("bf16", &["--precision", "bf16"], &["precision fp32", "bf16", "--precision fp32"]),
    ];
    for (out, extra, says) in cases {
        succeeded(&run(out, extra));
        let folder = here.join(out);
        std::fs::remove_dir_all(folder.join("checkpoints")).unwrap();
        copy(&tiny_run().join("checkpoints"), &folder.join("checkpoints"));
        std::fs::remove_file(folder.join("cells/pretrain-ours-seed0.json")).unwrap();
        let output = run(out, extra);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        for part in says {
            assert!(text.contains(part), "{out} should say `{part}`: {text}");
        }
        assert!(!text.contains("panicked") && checkpoints(&folder).len() == 2, "{text}");
    }
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_the_last_good_checkpoint() {
    let folder = folder();
    let here = folder.path();
    kill_after_checkpoints(
        Command::new(PROGRAM).args(long_args("cut")).current_dir(here),
        &here.join("cut"),
        1,
    );
    let before = checkpoints(&here.join("cut"));
    // files of more than 64 KiB cannot be written, as on a full disk
    let script = format!("trap '' XFSZ; ulimit -f 64; exec {PROGRAM} {}", long_args("cut").join(" "));
    let output = output(Command::new("bash").args(["-c", &script]).current_dir(here));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("cannot write checkpoint") && !text.contains("panicked"), "{text}");
    assert_eq!(before, checkpoints(&here.join("cut")));
    let left = std::fs::read_dir(here.join("cut/checkpoints/ours-seed0")).unwrap().count();
    assert_eq!(left, before.len(), "nothing half-written is left");
    succeeded(&eqr(here, &long_args("cut")));
    assert_eq!(metrics(long_run()), metrics(&here.join("cut")));
}
