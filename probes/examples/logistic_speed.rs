//! Measures the time of the fits in linear transfer: linfa-logistic with one strength at a time, or the
//! batched solver on the whole grid.
//!
//!     cargo run --release -p eqr-probes --example logistic_speed -- ROWS FEATURES CLASSES [linfa STRENGTHS | file]
//!
//! Features are random class centres plus noise, so the classes overlap. `file` writes features and labels as
//! raw little-endian data to `features.f32` and `labels.i64` in the current directory, for use with other
//! programs.

use std::time::Instant;

use eqr_probes::logistic::{LogisticConfig, fit, grid};
use linfa::prelude::*;
use linfa_logistic::MultiLogisticRegression;
use ndarray::{Array1, Array2};
use tch::{Device, Kind, Tensor};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments[i].parse::<i64>().expect("a number");
    let (rows, features, classes) = (number(0), number(1), number(2));
    tch::manual_seed(0);
    let normal = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
    let y = Tensor::randint(classes, [rows], (Kind::Int64, Device::Cpu));
    // unequal scales, as in the features of an encoder
    let scales = Tensor::linspace(-1.5, 1.0, features, (Kind::Float, Device::Cpu)).exp();
    let x = (normal(&[classes, features]).index_select(0, &y) * 0.25 + normal(&[rows, features])) * scales;
    match arguments.get(3).map(String::as_str) {
        Some("linfa") => {
            let step = 45 / arguments[4].parse::<usize>().expect("a number of strengths");
            for lambda in grid().into_iter().step_by(step) {
                linfa(&x, &y, lambda);
            }
        }
        Some("file") => {
            let bytes = |t: &Tensor| {
                let mut bytes = vec![0; t.numel() * t.kind().elt_size_in_bytes()];
                t.contiguous().copy_data_u8(&mut bytes, t.numel());
                bytes
            };
            std::fs::write("features.f32", bytes(&x)).expect("a writable folder");
            std::fs::write("labels.i64", bytes(&y)).expect("a writable folder");
        }
        _ => batched(&x, &y, classes),
    }
}

fn batched(x: &Tensor, y: &Tensor, classes: i64) {
    let start = Instant::now();
    let fits = fit("speed", x, y, classes, &grid(), &LogisticConfig::default()).expect("good input");
    for fit in &fits {
        println!(
            "lambda {:.2e}: objective {:.6e}, {} iterations, converged {}",
            fit.lambda, fit.objective, fit.iterations, fit.converged
        );
    }
    println!("{} strengths together: {:.1} s", fits.len(), start.elapsed().as_secs_f64());
}

fn linfa(x: &Tensor, y: &Tensor, lambda: f64) {
    let values: Vec<f64> = Vec::try_from(x.to_kind(Kind::Double).view([-1])).expect("features");
    let shape = (x.size()[0] as usize, x.size()[1] as usize);
    let labels: Vec<i64> = Vec::try_from(y).expect("labels");
    let labels = Array1::from_iter(labels.into_iter().map(|label| label as usize));
    let dataset = DatasetBase::new(Array2::from_shape_vec(shape, values).expect("(N, D)"), labels);
    let start = Instant::now();
    let fitted = MultiLogisticRegression::default()
        .alpha(lambda)
        .max_iterations(500)
        .gradient_tolerance(1e-4)
        .fit(&dataset);
    let seconds = start.elapsed().as_secs_f64();
    match fitted {
        Ok(_) => println!("linfa, lambda {lambda:.2e}: {seconds:.1} s"),
        Err(error) => println!("linfa, lambda {lambda:.2e}: {error} after {seconds:.1} s"),
    }
}
