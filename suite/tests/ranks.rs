//! The number of ranks changes nothing: same losses on 1, 2 and 3 ranks, also with a batch that does not divide.

mod common;

use common::{cell, folder, mpirun, succeeded};

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
        let curve =
            |ranks: usize| cell(&folder.path().join(format!("run-{ranks}")), id)["curve"].as_array().unwrap().clone();
        let alone = curve(1);
        assert!(alone.len() >= 20, "{method}: a point a step");
        for ranks in [2, 3] {
            for (one, many) in alone.iter().zip(curve(ranks)).take(20) {
                for (term, value) in one["terms"].as_object().unwrap() {
                    let (a, b) = (value.as_f64().unwrap(), many["terms"][term].as_f64().unwrap());
                    let step = &one["step"];
                    assert!(
                        (a - b).abs() <= 1e-4 * a.abs().max(1e-3),
                        "{method}, {ranks} ranks, step {step}, {term}: {a} {b}"
                    );
                }
            }
        }
    }
}
