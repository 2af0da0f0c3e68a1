//! Training on a pack that stays in its file: photographs of several sizes, each rank reading its own share.

mod common;

use common::{class_folders, eqr, folder, mpirun, same_losses, succeeded};

/// 48 training images; batch 11 divides by neither 2 nor 3 and gives 4 steps an epoch.
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
    let folder = folder();
    let here = folder.path();
    std::fs::write(here.join("streamed.toml"), SUITE).unwrap();
    class_folders(here, "photos", 2, 32, |index| (20 + index * 2, 75 - index));
    succeeded(&eqr(
        here,
        &["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--test-fraction", "0.25"],
    ));
    for ranks in [1, 2, 3] {
        let out = format!("run-{ranks}");
        let args = ["run", "streamed.toml", "--out", &out, "--data-root", ".", "--precision", "fp32", "--threads", "1"];
        let Some(mut command) = mpirun(here, ranks, &args) else { return };
        succeeded(&command.output().unwrap());
    }
    same_losses(here, "Ours", "pretrain-ours-seed0", 16);
}
