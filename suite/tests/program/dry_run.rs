//! `run --dry-run`: the cost of a suite, what is done and what is missing.

use crate::common::{class_folders, copy, eqr, folder, stderr, succeeded, takes_long, tiny_on, tiny_run};

fn dry(here: &std::path::Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = eqr(here, &[&["run"][..], more, &["--dry-run"]].concat());
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
}

#[test]
fn every_missing_pack_is_named_with_its_command() {
    let folder = folder();
    let here = folder.path();
    let (code, text, said) = dry(here, &["imagenet", "--out", "run", "--estimate-for", "h100"]);
    assert_eq!(code, Some(2));
    let packs = ["imagenet", "cifar10", "cifar100", "food101", "sun397", "dtd", "pets", "aircraft", "ade20k"];
    for pack in packs {
        let verb = if pack == "imagenet" { "pack" } else { "fetch" };
        let command = format!("{pack}.h5: make it with `eqr-bench data {verb} {pack} ");
        assert!(said.contains(&command), "{pack}: {said}");
    }
    assert!(said.contains("9 packs are missing: no --data-root was given"), "{said}");
    // 1,281,167 photographs in batches of 2048, 800 times
    let line = text.lines().find(|line| line.starts_with("pretrain-ours-seed2 ")).unwrap();
    assert!(
        line.contains(" 500000 steps, ") && line.contains("EFLOP, ") && line.contains("GB a device"),
        "{line}"
    );
    assert!(text.contains("nothing was measured on a GPU"), "{text}");
    assert!(!text.contains("cost unknown"), "sizes of public sets are known: {text}");
    assert!(!here.join("run").exists());
}

/// 80 objects of 16 classes x 6, one held out each; batches of 25, 7 epochs: 21 steps.
#[test]
fn flops_are_those_of_a_hand_count() {
    let folder = folder();
    let here = folder.path();
    let (code, text, said) =
        dry(here, &["tiny.toml", "--out", "run", "--methods", "VICReg", "--set", "train.epochs=70000"]);
    assert_eq!(code, Some(0), "{said}");
    // encoder: 16 patches of 48 values, 17 tokens of width 32, 2 blocks, half of y (32) per token and for the
    // class token
    let (tokens, dim) = (17.0, 32.0);
    let block = tokens * 12.0 * dim * dim + 2.0 * tokens * tokens * dim;
    let encoder = 2.0 * (16.0 * 48.0 * dim + 2.0 * block);
    let out_per_token = 2.0 * tokens * dim * 16.0;
    // the projector of both views: 32 -> 32 -> 32 -> 16
    let lower = 3.0 * 25.0 * 2.0 * encoder * 210_000.0;
    let upper = lower + 3.0 * 25.0 * 2.0 * (out_per_token + 2.0 * 4.0 * 32.0 * 32.0) * 210_000.0;
    let line = text.lines().find(|line| line.starts_with("pretrain-vicreg-seed0  ")).unwrap();
    assert!(line.contains(" 210000 steps, "), "{line}");
    let tflop: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((lower..=upper).contains(&(tflop * 1e12)), "{line}: between {lower:e} and {upper:e}");
}

#[test]
fn what_is_done_is_not_counted_again() {
    let folder = folder();
    let here = folder.path();
    let args = ["tiny.toml", "--out", "run", "--precision", "fp32"];
    let (_, before, _) = dry(here, &args);
    assert!(before.contains("total: 3 cells, 0 done, 3 left"), "{before}");
    copy(tiny_run(), &here.join("run"));
    for probe in ["random-init", "ours"] {
        std::fs::remove_file(here.join(format!("run/cells/probe-{probe}-seed0.json"))).unwrap();
    }
    let (code, after, said) = dry(here, &args);
    assert_eq!(code, Some(0), "{said}");
    assert!(after.contains("total: 3 cells, 1 done, 2 left"), "{after}");
    let line = after.lines().find(|line| line.starts_with("pretrain-ours-seed0 ")).unwrap();
    assert!(line.ends_with(", checkpoint at step 21, done"), "{line}");
    let (code, _, said) =
        dry(here, &["tiny.toml", "--out", "x", "--pretrained", "absent", "--external", "A=absent.pt"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("rows: `A`: absent.pt: No such file")
            && said.contains("--pretrained: absent holds no run"),
        "{said}"
    );
    // the rate of this CPU is measured
    if takes_long() {
        let (code, text, said) = dry(here, &[&args[..], &["--estimate-for", "cpu"]].concat());
        assert!(code == Some(0) && text.contains("1 done, 2 left"), "{text}{said}");
    }
}

/// What refuses a run refuses its dry run in the same words, and everything is told at once.
#[test]
fn a_dry_run_refuses_what_a_run_refuses() {
    let folder = folder();
    let here = folder.path();
    class_folders(here, "photos", 2, 8, |_| (20, 20));
    succeeded(&eqr(here, &["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--side", "20"]));
    class_folders(here, "sizes", 2, 8, |index| (20 + index, 24));
    succeeded(&eqr(here, &["data", "pack", "class-folders", "sizes", "--out", "sizes.h5"]));
    let data = |more: &str| tiny_on(&format!("[data]\nsource = \"pack\"\nfile = \"photos.h5\"\n{more}\n"));
    std::fs::write(here.join("own.toml"), data("")).unwrap();
    std::fs::write(here.join("side.toml"), data("side = 18")).unwrap();
    std::fs::write(here.join("sizes.toml"), data("").replace("photos.h5", "sizes.h5")).unwrap();
    std::fs::write(here.join("broken.csv"), "task,value\nrotation,0.5\n").unwrap();
    std::fs::write(here.join("broken.h5"), "no features").unwrap();
    std::fs::create_dir(here.join("letters")).unwrap();
    std::fs::write(here.join("letters/letter.txt"), "not a run").unwrap();
    copy(tiny_run(), &here.join("tiny"));
    let small = "train.batch=8";
    let cases: [(&[&str], &[&str]); 14] = [
        (&["own.toml"], &["train.batch = 25", "0 steps", "hint: train.batch = "]),
        (
            &["own.toml", "--set", small, "--set", "train.known_fraction=0.05"],
            &["train.known_fraction", "hint"],
        ),
        (&["side.toml", "--set", small], &["model.patch = 4 does not divide", "18"]),
        (&["sizes.toml", "--set", small], &["not squares of one size", "data.side"]),
        (&["own.toml", "--set", small, "--external", "A=absent.pt"], &["`A`", "absent.pt"]),
        (&["own.toml", "--set", small, "--external", "A=broken.csv"], &["`A`", "broken.csv"]),
        (&["own.toml", "--set", small, "--external", "A=broken.h5"], &["`A`", "broken.h5"]),
        (&["own.toml", "--set", small, "--set", "train.init=absent.safetensors"], &["absent.safetensors"]),
        (&["own.toml", "--set", small, "--set", "segmentation=[{file=\"photos.h5\"}]"], &["no masks"]),
        (&["own.toml", "--set", small, "--set", "transfer=[{file=\"x.h5\"}]"], &["no pack x.h5"]),
        (&["tiny.toml", "--out", "letters"], &["letters", "not a run"]),
        (&["tiny.toml", "--out", "broken.csv"], &["broken.csv", "not a folder"]),
        (&["tiny.toml", "--out", "tiny", "--seeds", "2"], &["another configuration", "seeds"]),
        (
            &["own.toml", "--external", "A=absent.pt", "--pretrained", "none"],
            &["train.batch", "absent.pt", "none"],
        ),
    ];
    for (args, says) in cases {
        let out: &[&str] = if args.contains(&"--out") { &[] } else { &["--out", "run"] };
        let args = [&["run"], args, out, &["--data-root", ".", "--precision", "fp32"]].concat();
        let refusal = |args: &[&str]| {
            let output = eqr(here, args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            said[said.find("error: ").expect("an error")..].to_owned()
        };
        let of_run = refusal(&args);
        assert_eq!(refusal(&[&args[..], &["--dry-run"]].concat()), of_run, "{args:?}");
        for part in says {
            assert!(of_run.contains(part), "{args:?} should say `{part}`: {of_run}");
        }
        assert!(!here.join("run").exists(), "{args:?} left a folder behind");
    }
}
