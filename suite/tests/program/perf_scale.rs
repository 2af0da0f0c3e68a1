//! `perf scale` on one rank with a named network, and on several ranks. No timing is asserted.

use serde_json::Value;

use crate::common::{eqr, eqr_ranks, folder, has_mpi, stderr, succeeded};

const SMALL: [&str; 17] = [
    "perf", "scale", "--img", "16", "--patch", "4", "--dim", "32", "--depth", "1", "--heads", "2", "--batch",
    "12", "--steps", "2", "--json",
];

fn checked(found: &Value) {
    let steps = found["steps"].as_array().unwrap();
    let devices: Vec<u64> = steps.iter().map(|step| step["devices"].as_u64().unwrap()).collect();
    assert_eq!(devices, [1, 2, 4, 8], "no more devices than pairs");
    let number = |step: &Value, key: &str| step[key].as_f64().unwrap();
    for step in steps {
        let parts = ["compute_seconds", "gather_seconds", "exposed_sum_seconds"].map(|key| number(step, key));
        assert!((parts.iter().sum::<f64>() - number(step, "seconds")).abs() < 1e-12, "{step}");
        assert!((number(step, "views_per_s") * number(step, "seconds") - 24.0).abs() < 1e-9, "{step}");
    }
    assert_eq!((number(&steps[0], "efficiency"), number(&steps[0], "exposed_sum_seconds")), (1.0, 0.0));
    assert_eq!(steps[3]["pairs_per_device"], 2);
}

#[test]
fn steps_are_predicted_on_any_number_of_ranks() {
    let folder = folder();
    let here = folder.path();
    let alone = [&SMALL[..], &["--threads", "1", "--precision", "fp32"]].concat();
    let output = eqr(here, &alone);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: --interconnect NAME, or mpirun -n 2"), "{}", stderr(&output));
    let output = eqr(here, &[&alone[..], &["--interconnect", "gh200-ndr200"]].concat());
    succeeded(&output);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    checked(&found);
    assert!(found["check"].is_null() && found["network"]["devices_per_node"] == 4);
    for ranks in [2, 4] {
        if !has_mpi() {
            return;
        }
        let output = eqr_ranks(here, ranks, &alone);
        succeeded(&output);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        checked(&found);
        assert_eq!(found["check"]["ranks"], ranks);
        let ratio = found["check"]["measured_over_predicted"].as_f64().unwrap();
        assert!(ratio.is_finite() && ratio > 0.0, "{found}");
    }
}
