//! Training on a pack that stays in its file: photographs of several sizes. Each rank reads its own share.

use crate::common::{class_folders, eqr, eqr_ranks, folder, has_mpi, same_losses, succeeded};

/// 48 training images; batch 11 is divisible by neither 2 nor 3 and gives 4 steps per epoch.
const SUITE: &str = r#"
name = "streamed"
title = "A tiny suite on a streamed pack"
methods = ["Ours"]
seeds = 1

[data]
source = "pack"
file = "photos.h5"
made_by = "eqr-bench data pack class-folders photos --out photos.h5"
side = 32

[transforms]
active = ["rotation", "color", "translation"]
border = "window"

[model]
patch = 8
dim = 32
depth = 1
heads = 2
out = 32
head = { hidden = 32, embed = 16 }
decoder = { depth = 1, dim = 16, heads = 2 }

[train]
batch = 11
epochs = 4
lr = 1e-2

[probe]
seeds = 1
train_pairs = 48
test_pairs = 16
regression = { hidden = 16, epochs = 2, batch = 16, lr = 1e-3 }
classification = { epochs = 2, batch = 16, lr = 1e-3 }
"#;

#[test]
fn losses_on_a_streamed_pack_do_not_depend_on_the_number_of_ranks() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    std::fs::write(here.join("streamed.toml"), SUITE).unwrap();
    class_folders(here, "photos", 2, 32, |index| (20 + index * 2, 75 - index));
    succeeded(&eqr(
        here,
        &["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--test-fraction", "0.25"],
    ));
    for (ranks, out, more) in
        [(1, "one", &["--pretrain-only"][..]), (2, "two", &[]), (3, "three", &["--pretrain-only"])]
    {
        let args = [
            "run",
            "streamed.toml",
            "--out",
            out,
            "--data-root",
            ".",
            "--precision",
            "fp32",
            "--threads",
            "1",
        ];
        succeeded(&eqr_ranks(here, ranks, &[&args[..], more].concat()));
    }
    for out in ["two", "three"] {
        same_losses(&here.join("one"), &here.join(out), "pretrain-ours-seed0", 16);
    }
}
