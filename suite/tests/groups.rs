//! Trainings side by side on groups of ranks give what each gives alone.

mod common;

use common::{cell, eqr, folder, mpirun, stderr, succeeded};

const METHODS: &str = "VICReg,Ours,SIE(rot)";
const CELLS: [&str; 3] = ["pretrain-vicreg-seed0", "pretrain-ours-seed0", "pretrain-sie-rot-seed0"];

#[test]
fn groups_of_ranks_train_as_one_process_does() {
    let folder = folder();
    let args = |out| ["run", "tiny.toml", "--out", out, "--methods", METHODS, "--precision", "fp32", "--threads", "1"];
    succeeded(&eqr(folder.path(), &args("alone")));
    let grouped = [&args("grouped")[..], &["--ranks-per-cell", "1"]].concat();
    let Some(mut command) = mpirun(folder.path(), 2, &grouped) else { return };
    succeeded(&command.output().unwrap());
    for id in CELLS {
        let curve = |out: &str| cell(&folder.path().join(out), id)["curve"].clone();
        assert!(curve("alone").as_array().is_some_and(|points| !points.is_empty()));
        assert_eq!(curve("alone"), curve("grouped"), "{id}");
    }
    let metrics = |out: &str| std::fs::read_to_string(folder.path().join(out).join("metrics.csv")).unwrap();
    assert_eq!(metrics("alone"), metrics("grouped"));
}

#[test]
fn groups_and_micro_batches_that_do_not_divide_are_refused_on_every_rank() {
    let folder = folder();
    let cases = [
        (["--ranks-per-cell", "2"], "does not divide the 3 ranks"),
        (["--micro-batch", "7"], "does not divide train.batch"),
    ];
    for (option, part) in cases {
        let args = [&["run", "tiny.toml", "--out", "refused"][..], &option].concat();
        let Some(mut command) = mpirun(folder.path(), 3, &args) else { return };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(!folder.path().join("refused").exists());
    }
}

#[test]
fn micro_batches_do_not_change_the_losses() {
    let folder = folder();
    let args = |out| ["run", "tiny.toml", "--out", out, "--methods", METHODS, "--precision", "fp32", "--threads", "1"];
    succeeded(&eqr(folder.path(), &args("whole")));
    succeeded(&eqr(folder.path(), &[&args("parts")[..], &["--micro-batch", "5"]].concat()));
    for id in CELLS {
        let curve = |out: &str| cell(&folder.path().join(out), id)["curve"].as_array().unwrap().clone();
        for (whole, parts) in curve("whole").iter().zip(curve("parts")).take(20) {
            let (a, b) = (whole["terms"]["loss"].as_f64().unwrap(), parts["terms"]["loss"].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{id}, step {}: {a} {b}", whole["step"]);
        }
    }
}
