//! The number of ranks changes nothing: same losses on 1, 2 and 3 ranks, also with a batch that does not divide.

mod common;

use common::{folder, mpirun, same_losses, succeeded};

const METHODS: [(&str, &str); 3] = [
    ("Ours", "pretrain-ours-seed0"),
    ("SIE(rot+color)", "pretrain-sie-rot-color-seed0"),
    ("VICReg", "pretrain-vicreg-seed0"),
];

#[test]
fn losses_of_the_first_twenty_steps_do_not_depend_on_the_number_of_ranks() {
    let folder = folder();
    let methods = METHODS.map(|(name, _)| name).join(",");
    for ranks in [1, 2, 3] {
        let out = format!("run-{ranks}");
        let args = ["run", "tiny.toml", "--out", &out, "--methods", &methods, "--precision", "fp32", "--threads", "1"];
        let Some(mut command) = mpirun(folder.path(), ranks, &args) else { return };
        succeeded(&command.output().unwrap());
    }
    for (method, id) in METHODS {
        same_losses(folder.path(), method, id, 20);
    }
}
