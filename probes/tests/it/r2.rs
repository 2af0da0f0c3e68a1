//! Compares both definitions of R2 with scikit-learn, and tests undefined values and the constant predictor.

use approx::assert_relative_eq;
use eqr_models::test_device::test_tensor;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::{Error, TensorRole};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::Tensor;

fn matrix(values: &[f32], columns: i64) -> Tensor {
    test_tensor(values).view([-1, columns])
}

/// Targets and predictions are from the example in scikit-learn's documentation of `r2_score`. The expected
/// values are from scikit-learn 1.9 (`multioutput="raw_values"` and the default). The pooled value is
/// computed from its formula with numpy.
#[test]
fn agrees_with_scikit_learn() {
    let targets = matrix(&[0.5, 1.0, -1.0, 1.0, 7.0, -6.0], 2);
    let predictions = matrix(&[0.0, 2.0, -1.0, 2.0, 8.0, -5.0], 2);
    let r2 = R2::new(&predictions, &targets).unwrap();
    assert_relative_eq!(r2.outputs[0].unwrap(), 0.9654377880184332, max_relative = 1e-12);
    assert_relative_eq!(r2.outputs[1].unwrap(), 0.9081632653061225, max_relative = 1e-12);
    assert_relative_eq!(r2.per_output.unwrap(), 0.9368005266622779, max_relative = 1e-12);
    assert_relative_eq!(r2.pooled.unwrap(), 0.9512661251791686, max_relative = 1e-12);
}

/// Sums are computed in f64. With a mean of 10,000, f32 sums of squares would lose a variance of 1/12
/// completely.
#[test]
fn large_means_do_not_cost_precision() {
    let mut rng = Pcg64::seed_from_u64(1);
    let targets: Vec<f32> = (0..10_000).map(|_| 10_000.0 + rng.r#gen::<f32>()).collect();
    let mean = targets.iter().map(|&v| f64::from(v)).sum::<f64>() / 10_000.0;
    let total: f64 = targets.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    let predictions: Vec<f32> = targets.iter().map(|v| v + 0.0625).collect();
    let r2 = R2::new(&matrix(&predictions, 1), &matrix(&targets, 1)).unwrap();
    assert_relative_eq!(r2.pooled.unwrap(), 1.0 - 10_000.0 * 0.0625f64.powi(2) / total, max_relative = 1e-9);
    assert_relative_eq!(r2.pooled.unwrap(), r2.per_output.unwrap(), max_relative = 1e-9);
}

#[test]
fn constant_targets_are_undefined() {
    let predictions = matrix(&[0.0, 1.0, 2.0, 3.0], 2);
    let one = R2::new(&predictions, &matrix(&[0.0, 7.0, 1.0, 7.0], 2)).unwrap();
    assert_eq!(one.outputs[1], None);
    assert_eq!(one.per_output, one.outputs[0]);
    assert!(one.pooled.is_some(), "the outputs differ, so one mean over both leaves something to explain");
    let all = R2::new(&predictions, &matrix(&[7.0; 4], 2)).unwrap();
    assert_eq!(all, R2 { pooled: None, per_output: None, outputs: vec![None, None] });
}

/// Hamilton product of quaternions in the order x, y, z, w.
fn product(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    let ([ax, ay, az, aw], [bx, by, bz, bw]) = (a, b);
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

/// Rotation about the fixed axes x, y and z, in this order, by three angles drawn from U(-pi/2, pi/2).
fn rotation(rng: &mut Pcg64) -> [f64; 4] {
    let mut turn = |axis: usize| {
        let half = rng.gen_range(-1.0..1.0) * std::f64::consts::FRAC_PI_4;
        let mut q = [0.0, 0.0, 0.0, half.cos()];
        q[axis] = half.sin();
        q
    };
    let (x, y, z) = (turn(0), turn(1), turn(2));
    product(z, product(y, x))
}

/// Quaternions of R1^-1 R2, which are the rotation targets of 3DIEBench.
fn relative_rotations(seed: u64, count: usize) -> Tensor {
    let mut rng = Pcg64::seed_from_u64(seed);
    let values: Vec<f32> = (0..count)
        .flat_map(|_| {
            let ([x, y, z, w], second) = (rotation(&mut rng), rotation(&mut rng));
            product([-x, -y, -z, w], second).map(|v| v as f32)
        })
        .collect();
    matrix(&values, 4)
}

/// The mean of w is far from the means of x, y and z, so a single mean over all four outputs fits none of
/// them. The pooled R2 of a constant predictor is 0.2286 (Monte Carlo with scipy's `Rotation`, 200,000
/// pairs). Per output it is 0.
#[test]
fn constant_predictor_on_quaternions() {
    let r2 = constant_predictor(&relative_rotations(1, 40_000), &relative_rotations(2, 40_000)).unwrap();
    assert_relative_eq!(r2.pooled.unwrap(), 0.2286, epsilon = 0.006);
    assert_relative_eq!(r2.per_output.unwrap(), 0.0, epsilon = 0.002);
}

#[test]
fn bad_tensors_are_refused() {
    let targets = matrix(&[0.0, 1.0, 2.0, 3.0], 2);
    let short = matrix(&[0.0, 1.0], 2);
    assert!(matches!(R2::new(&short, &targets), Err(Error::Shape { role: TensorRole::Predictions, .. })));
    let nan = matrix(&[0.0, f32::NAN, 2.0, 3.0], 2);
    assert!(matches!(
        R2::new(&nan, &targets),
        Err(Error::NonFinite { role: TensorRole::Predictions, count: 1, .. })
    ));
    assert!(matches!(R2::new(&targets, &nan), Err(Error::NonFinite { role: TensorRole::Targets, .. })));
    let narrow = matrix(&[0.0, 1.0], 1);
    assert!(matches!(
        constant_predictor(&narrow, &targets),
        Err(Error::Shape { role: TensorRole::TestTargets, .. })
    ));
}
