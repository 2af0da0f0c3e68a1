//! `--cuda-graph`: steps that are recorded once and launched whole, on the false GPU. While it records, it
//! runs nothing, and new tensors hold no numbers.

use crate::common::{cell, eqr, eqr_ranks, folder, has_mpi, is_refusal, run_args, same_losses, succeeded};
use crate::false_gpu::on_gpus;

/// One of each kind.
const METHODS: &str = "VICReg,Ours,SIE(rot+color),Supervised,Direct regression";

const CELLS: [&str; 5] = [
    "pretrain-vicreg-seed0",
    "pretrain-ours-seed0",
    "pretrain-sie-rot-color-seed0",
    "pretrain-supervised-seed0",
    "pretrain-direct-regression-seed0",
];

fn args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    run_args(out, &[&["--methods", METHODS, "--pretrain-only", "--set", "train.epochs=2"], more].concat())
}

/// A graph has the operations of the queued step, so every number of the curves is the same.
#[test]
fn recorded_steps_have_the_curves_of_queued_ones() {
    let folder = folder();
    let here = folder.path();
    succeeded(&on_gpus(here, 1, &[], &args("queued", &[])));
    let cases: [&[&str]; 2] = [&[], &["--micro-batch", "5", "--set", "train.recompute=true"]];
    for (case, more) in cases.into_iter().enumerate() {
        let out = format!("recorded-{case}");
        let more = [more, &["--cuda-graph"]].concat();
        let counts = [("EQR_FALSE_GPU_COUNTS", "counts.json")];
        succeeded(&on_gpus(here, 1, &counts, &args(&out, &more)));
        let counts: serde_json::Value =
            serde_json::from_slice(&std::fs::read(here.join("counts.json")).unwrap()).unwrap();
        assert!(counts["recorded_operations"].as_u64().unwrap() > 1000, "{counts}");
        let [queued, recorded] = [here.join("queued"), here.join(&out)];
        for id in CELLS {
            // smaller products add in another order
            match case {
                0 => assert_eq!(cell(&queued, id)["curve"], cell(&recorded, id)["curve"], "{id}"),
                _ => same_losses(&queued, &recorded, id, 4),
            }
        }
    }
}

#[test]
fn what_has_no_graph_is_refused() {
    let folder = folder();
    let here = folder.path();
    let cpu = ["--cuda-graph: the device is a CPU", "hint: leave it out"];
    is_refusal(&eqr(here, &args("run", &["--cuda-graph"])), &cpu);
    is_refusal(&eqr(here, &["perf", "train", "--cuda-graph", "--threads", "1"]), &cpu);
    assert!(!here.join("run").exists());
    if has_mpi() {
        let two = args("run", &["--cuda-graph", "--device", "cpu"]);
        is_refusal(&eqr_ranks(here, 2, &two), &cpu);
    }
}
