//! Bad input gives one clear message and exit code 2, leaves nothing half-written and no rank hanging.

use std::path::Path;

use crate::common::{
    PROGRAM, class_folders, copy, eqr, eqr_ranks, folder, has_mpi, mpirun, output, run_args, stderr, tiny_run,
};

/// The command ends with exit code 2 and one `error:` that contains all of `says`.
fn refused(folder: &Path, args: &[&str], says: &[&str]) {
    let output = eqr(folder, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(text.matches("error:").count(), 1, "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in says {
        assert!(text.contains(part), "{args:?} should say `{part}`: {text}");
    }
}

#[test]
fn names_and_values_of_a_suite() {
    let folder = folder();
    let cases: [(&[&str], &[&str]); 16] = [
        (&["--methods", "VICRge"], &["unknown method `VICRge`", "did you mean `VICReg`"]),
        (&["--methods", "SIE(blur)"], &["`blur`", "rotation, color"]),
        (
            &["--methods", "SIE(turn)"],
            &["unknown method `SIE(turn)`", "did you mean `SIE(", "docs/methods.md"],
        ),
        (&["--micro-batch", "4"], &["--micro-batch 4 does not divide train.batch = 25"]),
        (&["--set", "train.epoch=3"], &["`epoch`", "did you mean `epochs`"]),
        (&["--set", "train"], &["expected key=value"]),
        (&["--set", "train.batch=1"], &["train.batch = 1", "at least 2"]),
        (&["--set", "train.batch=100000"], &["train.batch = 100000", "training objects"]),
        (&["--set", "train.lr=-1"], &["train.lr = -1", "above 0"]),
        (&["--set", "model.patch=5"], &["patch = 5", "16"]),
        (&["--set", "model.heads=5"], &["heads = 5", "dim = 32"]),
        (&["--seeds", "0"], &["seeds = 0"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--set", "probe.regression.lr=0"], &["probe.regression", "lr"]),
        (&["--set", "model.loss.lambda_recon=-1"], &["lambda_recon = -1"]),
        (&["--set", "data.spec.side=4"], &["side = 4", "8 to 1024"]),
    ];
    for (extra, says) in cases {
        let args = [&["run", "tiny.toml", "--out", "run"], extra].concat();
        refused(folder.path(), &args, says);
        assert!(!folder.path().join("run/manifest.json").exists(), "{extra:?} left a run behind");
    }
    // the refused calls left nothing that stops the corrected one
    let corrected = eqr(folder.path(), &["run", "tiny.toml", "--out", "run", "--methods", "Random init"]);
    assert!(corrected.status.success(), "{}", stderr(&corrected));
    refused(
        folder.path(),
        &["run", "quickstrat", "--out", "run"],
        &["no suite `quickstrat`", "did you mean `quickstart`"],
    );
    refused(folder.path(), &["run", "absent.toml", "--out", "run"], &["absent.toml"]);
    refused(folder.path(), &["runn"], &["unrecognized subcommand"]);
}

#[test]
fn errors_of_a_suite_name_its_own_lines_or_keys() {
    let folder = folder();
    let here = folder.path();
    let text = std::fs::read_to_string(here.join("tiny.toml")).unwrap();
    let typo = text.replace("batch = 25", "bacth = 25");
    let line = format!("line {}", 1 + typo.lines().position(|line| line == "bacth = 25").unwrap());
    std::fs::write(here.join("typo.toml"), &typo).unwrap();
    let run = |suite, extra: &[&'static str]| [&["run", suite, "--out", "run"], extra].concat();
    // a mistake of the file is told by its line, whatever else the command line sets
    for extra in [&[][..], &["--methods", "Ours"], &["--seeds", "2"], &["--set", "train.epochs=3"]] {
        refused(here, &run("typo.toml", extra), &["typo.toml", &line, "`bacth`", "did you mean `batch`"]);
    }
    // a mistake of the command line by its option and key
    let of_command_line = |extra: &[&'static str], says: &[&str]| {
        let output = eqr(here, &run("tiny.toml", extra));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("line ") && !text.contains("tiny.toml"), "of the command line: {text}");
        for part in says {
            assert!(text.contains(part), "{extra:?} should say `{part}`: {text}");
        }
    };
    let wrong = "--set: train.epochs = \"many\": expected a whole number";
    of_command_line(&["--set", "train.epochs=many"], &[wrong]);
    let unknown = "--set: unknown key `bacth` in `train`";
    of_command_line(&["--set", "train.bacth=3"], &[unknown, "did you mean `batch`"]);
    let list = "--set: probe.regression.lr = [1]: expected a number";
    of_command_line(&["--set", "probe.regression.lr=[1]", "--methods", "Ours"], &[list]);
    of_command_line(&["--set", "methods=Ours"], &["--set: methods = \"Ours\": expected a list"]);
    of_command_line(&["--seeds", "0"], &["error: --seeds: seeds = 0: must be at least 1"]);
    of_command_line(&["--methods", "VICRge"], &["error: --methods: unknown method `VICRge`"]);
    // names are passed on as they are
    of_command_line(&["--methods", "Ours \u{301}\"x\\"], &["unknown method `Ours \u{301}\"x\\`"]);
    // what several data sets have in common is told once
    let (before, rest) = typo.split_once("[data]\n").unwrap();
    let (data, rest) = rest.split_once("\n\n").unwrap();
    let other = data.replace("name = \"solids\"", "name = \"others\"");
    let set = "set = { train = { epoch = 3 } }";
    let two = format!("{before}[[data]]\n{data}\n\n[[data]]\n{other}\n{set}\n\n{rest}");
    std::fs::write(here.join("two.toml"), &two).unwrap();
    let line = |of: &str| format!("line {}", 1 + two.lines().position(|line| line == of).unwrap());
    refused(
        here,
        &run("two.toml", &[]),
        &["two.toml: 2 mistakes", &line("bacth = 25"), &line(set), "`epoch`"],
    );
}

#[test]
fn all_mistakes_of_a_suite_are_told_at_once() {
    let folder = folder();
    let here = folder.path();
    let wrong = [
        ("seeds = 1", "seed = 1", "unknown key `seed`\nhint: did you mean `seeds`?"),
        ("patch = 4\n", "", "`patch` is missing in `model`"),
        ("epochs = 7", "epochs = \"7\"", "train.epochs = \"7\": expected a whole number"),
        ("seeds = 2", "seeds = 2000", "probe.seeds = 2000: must be at most 1000"),
        ("\"Ours\"]", "\"Our\"]", "unknown method `Our`\nhint: did you mean `Ours`?"),
        (
            "[train]",
            "positions = \"sin\"\n[train]",
            "model.positions = \"sin\"\nhint: did you mean `sincos`?",
        ),
        ("lr = 1e-2", "lr = -1", "train.lr = -1: must be above 0"),
    ];
    let text = std::fs::read_to_string(here.join("tiny.toml")).unwrap();
    let text = wrong.iter().fold(text, |text, (right, wrong, _)| text.replacen(right, wrong, 1));
    std::fs::write(here.join("wrong.toml"), text).unwrap();
    let says = wrong.map(|(_, _, says)| says);
    let args = ["run", "wrong.toml", "--out", "run", "--set", "probe.test_pairs=1", "--set", "train.bacth=3"];
    refused(here, &args, &says);
    let of_options =
        ["wrong.toml: 9 mistakes", "--set: probe.test_pairs = 1: must be", "--set: unknown key `bacth`"];
    refused(here, &args, &of_options);
    refused(
        here,
        &args,
        &["\n   |\n5 | seed = 1\n  | ^^^^\nunknown key `seed`".replacen("   |", "  |", 1).as_str()],
    );
}

#[test]
fn folders_of_runs() {
    let folder = folder();
    let here = folder.path();
    std::fs::create_dir(here.join("other")).unwrap();
    std::fs::write(here.join("other/letter.txt"), "not a run").unwrap();
    refused(here, &["run", "tiny.toml", "--out", "other"], &["no manifest.json", "new folder"]);
    refused(here, &["report", "other"], &["holds no run"]);
    refused(here, &["run", "tiny.toml", "--out", "tiny.toml"], &["tiny.toml"]);
    // nobody may write there, not even root
    refused(here, &["run", "tiny.toml", "--out", "/proc/run"], &["/proc/run"]);
    refused(here, &["data", "generate", "solids", "--out", "/proc/x.h5"], &["cannot write to /proc"]);

    let dry = eqr(here, &["run", "tiny.toml", "--out", "dry", "--dry-run"]);
    assert!(dry.status.success() && !here.join("dry").exists());
    assert!(String::from_utf8_lossy(&dry.stdout).contains("pretrain-ours-seed0"));

    copy(tiny_run(), &here.join("run"));
    refused(
        here,
        &run_args("run", &["--set", "train.lr=0.5"]),
        &["another configuration", "train.lr", "0.5", "0.01"],
    );
    refused(
        here,
        &["run", "tiny.toml", "--out", "run", "--precision", "bf16", "--methods", "VICReg"],
        &["methods"],
    );
}

#[test]
fn data_that_is_not_there_or_not_whole() {
    let folder = folder();
    let here = folder.path();
    let photos = |root: &[&'static str]| [&["run", "cifar10", "--out", "run"], root].concat();
    refused(here, &photos(&[]), &["no pack cifar10.h5", "--data-root", "data fetch cifar10"]);
    refused(here, &photos(&["--data-root", "absent"]), &["data root absent"]);
    std::fs::write(here.join("cifar10.h5"), b"this is not HDF5").unwrap();
    refused(here, &photos(&["--data-root", "."]), &["cifar10.h5"]);
    refused(here, &["data", "verify", "cifar10.h5"], &["cifar10.h5"]);
    refused(here, &["data", "show", "absent.h5", "--out", "x.png"], &["absent.h5"]);
    refused(here, &["data", "pack", "cifar10", "absent.tar.gz", "--out", "x.h5"], &["absent.tar.gz"]);
    refused(here, &["data", "generate", "solids", "--out", "absent/x.h5"], &["absent"]);
    std::fs::create_dir_all(here.join("photos/a")).unwrap();
    std::fs::create_dir_all(here.join("photos/b")).unwrap();
    for name in ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"] {
        std::fs::write(here.join("photos").join(name), b"broken").unwrap();
    }
    refused(here, &["data", "pack", "class-folders", "photos", "--out", "x.h5"], &["a/1.jpg"]);
    assert!(!here.join("x.h5").exists());
}

/// `Supervised` cannot learn from one class, so such a set is not packed.
#[test]
fn a_set_of_one_class() {
    let folder = folder();
    let here = folder.path();
    class_folders(here, "one", 1, 4, |_| (16, 16));
    let args = ["data", "pack", "class-folders", "one", "--out", "one.h5", "--side", "16"];
    refused(here, &args, &["one", "at least two class folders", "class 0"]);
    assert!(!here.join("one.h5").exists());
}

#[test]
fn ranks_agree_on_bad_input_and_none_hangs() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let says = |args: &[&str], ranks: usize, part: &str| {
        let output = eqr_ranks(here, ranks, args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part), "{text}");
        assert_eq!(text.matches("error:").count(), 1, "{text}");
    };
    says(&["run", "tiny.toml", "--out", "run", "--methods", "Outs"], 2, "did you mean `Ours`");
    says(&["run", "tiny.toml", "--out", "few", "--set", "train.batch=2"], 3, "smaller than the 3 ranks");
    says(&["doctor"], 2, "start it without mpirun");
}

/// Each rank runs in its own folder: only rank 0 sees the data root and the run's folder.
#[test]
fn a_data_root_that_only_some_ranks_see() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    for rank in ["0", "1"] {
        std::fs::create_dir_all(here.join(rank)).unwrap();
    }
    std::fs::create_dir(here.join("0/packs")).unwrap();
    std::fs::write(here.join("0/packs/cifar10.h5"), b"not HDF5 either, but rank 1 is first to miss it")
        .unwrap();
    let script =
        format!("cd $OMPI_COMM_WORLD_RANK && exec {PROGRAM} run cifar10 --out ../run --data-root packs");
    let output = output(mpirun(here, 2).args(["sh", "-c", &script]));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("of 2:"), "says which rank: {}", stderr(&output));
}
