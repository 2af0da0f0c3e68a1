//! Less memory for activations, on a false GPU with a limit: `--micro-batch auto` finds how many pairs fit,
//! and `train.recompute` computes the encoder's blocks again. Neither changes a loss.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{
    PROGRAM, cell, folder, has_mpi, mpirun, output, run_args, same_losses, stderr, succeeded, takes_long,
};
use crate::false_gpu::{KERNELS, LIBTORCH, on_gpus};

/// Two steps on 32 pairs, whose activations need far more memory than all the rest.
const NETWORK: [&str; 15] = [
    "--methods",
    "Ours",
    "--pretrain-only",
    "--set",
    "train.epochs=1",
    "--set",
    "train.batch=32",
    "--set",
    "model.patch=2",
    "--set",
    "model.dim=48",
    "--set",
    "model.depth=4",
    "--set",
    "model.heads=3",
];

const TRAINING: &str = "pretrain-ours-seed0";

fn args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    run_args(out, &[&NETWORK[..], more].concat())
}

/// The most memory of the device that the run takes at any time.
fn peak(here: &Path, out: &str, more: &[&str]) -> u64 {
    succeeded(&on_gpus(here, 1, &[("EQR_FALSE_GPU_COUNTS", "counts.json")], &args(out, more)));
    let counts: Value = serde_json::from_slice(&std::fs::read(here.join("counts.json")).unwrap()).unwrap();
    counts["most_used_bytes"].as_u64().unwrap()
}

/// The micro-batches that the log of a run tells.
fn found(run: &Path) -> Vec<u64> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["micro_batch"].as_u64()).collect()
}

fn same_run(here: &Path, one: &str, other: &str) {
    assert_eq!(cell(&here.join(one), TRAINING)["step"], cell(&here.join(other), TRAINING)["step"]);
    same_losses(&here.join(one), &here.join(other), TRAINING, 2);
}

/// A try that fails gives its memory back, or the next one would fail, too.
#[test]
fn the_largest_micro_batch_that_fits_is_found_by_trying() {
    let folder = folder();
    let here = folder.path();
    let (whole, quarter) = (peak(here, "whole", &[]), peak(here, "8", &["--micro-batch", "8"]));
    let of_a_pair = (whole - quarter) / 24;
    // for 12 pairs
    let limit = (quarter + 4 * of_a_pair).to_string();
    let limited = [("EQR_FALSE_GPU_BYTES", limit.as_str())];
    let refused = on_gpus(here, 1, &limited, &args("refused", &[]));
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("hint: 32 pairs were encoded at a time: try --micro-batch 16,"));

    let auto = ["--micro-batch", "auto"];
    let tried = on_gpus(here, 1, &limited, &args("auto", &auto));
    succeeded(&tried);
    let text = stderr(&tried);
    assert!(text.contains("8 of 32 pairs of a rank fit in memory (--micro-batch auto)"), "{text}");
    assert!(!text.contains("error") && !text.contains("panicked"), "{text}");
    assert_eq!(found(&here.join("auto")), [8]);
    same_run(here, "auto", "whole");

    // without a limit, all pairs fit, and the numbers are those of a run that tries nothing
    succeeded(&on_gpus(here, 1, &[], &args("free", &auto)));
    assert_eq!(found(&here.join("free")), [32]);
    assert_eq!(cell(&here.join("free"), TRAINING)["curve"], cell(&here.join("whole"), TRAINING)["curve"]);

    // for half a pair
    let small = (quarter - 8 * of_a_pair + of_a_pair / 2).to_string();
    let refused = on_gpus(here, 1, &[("EQR_FALSE_GPU_BYTES", &small)], &args("small", &auto));
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(3), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(text.contains("error: out of memory: CUDA out of memory. Tried to allocate"), "{text}");
    assert!(text.contains("hint: a smaller network, image or batch needs less memory"), "{text}");
}

#[test]
fn all_ranks_take_the_smallest_micro_batch_that_one_of_them_found() {
    if !takes_long() || !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    // a rank has 16 of 32 pairs
    let [quarter, half] = ["4", "8"].map(|pairs| peak(here, pairs, &["--micro-batch", pairs]));
    let limit = (quarter + half) / 2;
    let script =
        format!("[ $OMPI_COMM_WORLD_RANK = 0 ] || export EQR_FALSE_GPU_BYTES={limit}; exec {PROGRAM} \"$@\"");
    let mut command = mpirun(here, 2);
    command.args(["sh", "-c", &script, "sh"]).args(args("ranks", &["--micro-batch", "auto"]));
    command.env("LIBTORCH", &*LIBTORCH).env("EQR_FALSE_GPUS", "2").env("EQR_FALSE_GPU_OPEN", "1");
    command.env(KERNELS.0, "0");
    succeeded(&output(&mut command));
    assert_eq!(found(&here.join("ranks")), [4]);
    same_run(here, "ranks", "4");
}

/// The CPU has no limit of its own, so that all pairs are tried once and taken.
#[test]
fn a_cpu_encodes_its_whole_share() {
    let folder = folder();
    let here = folder.path();
    let run = |args: &[&str]| output(Command::new(PROGRAM).args(args).current_dir(here));
    succeeded(&run(&run_args("plain", &["--methods", "Ours", "--pretrain-only"])));
    succeeded(&run(&run_args("auto", &["--methods", "Ours", "--pretrain-only", "--micro-batch", "auto"])));
    assert_eq!(found(&here.join("auto")), [25]);
    let [plain, auto] = ["plain", "auto"].map(|run| cell(&here.join(run), TRAINING));
    assert_eq!(plain["curve"], auto["curve"]);
    let refused = run(&run_args("refused", &["--micro-batch", "0"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("expected a number of pairs, at least 1, or `auto`"));
}

#[test]
fn blocks_computed_again_fit_where_kept_ones_do_not() {
    if !takes_long() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let recompute = ["--set", "train.recompute=true"];
    let kept = peak(here, "kept", &[]);
    let recomputed = peak(here, "recomputed", &recompute);
    assert!(recomputed < kept / 2, "{recomputed} {kept}");
    let curve = |run: &str| cell(&here.join(run), TRAINING)["curve"].clone();
    assert_eq!(curve("recomputed"), curve("kept"));

    let limit = ((kept + recomputed) / 2).to_string();
    let limited = [("EQR_FALSE_GPU_BYTES", limit.as_str())];
    let refused = on_gpus(here, 1, &limited, &args("limited", &[]));
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    // the same run goes on with blocks that are computed again
    succeeded(&on_gpus(here, 1, &limited, &args("limited", &recompute)));
    assert_eq!(curve("limited"), curve("kept"));
}
