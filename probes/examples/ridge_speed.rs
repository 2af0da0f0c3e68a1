//! Measures the time of the closed-form probe with its grid of strengths.
//!
//!     cargo run --release -p eqr-probes --example ridge_speed -- ROWS FEATURES OUTPUTS

use std::time::Instant;

use eqr_probes::ridge::Ridge;
use tch::{Device, Kind, Tensor};

fn main() {
    let number = |i: usize| {
        std::env::args().nth(i).and_then(|text| text.parse::<i64>().ok()).expect("ROWS FEATURES OUTPUTS")
    };
    let (rows, features, outputs) = (number(1), number(2), number(3));
    tch::manual_seed(0);
    let x = Tensor::randn([rows, features], (Kind::Float, Device::Cpu));
    let t = x.narrow(1, 0, outputs).tanh() + Tensor::randn([rows, outputs], (Kind::Float, Device::Cpu));
    let start = Instant::now();
    let ridge = Ridge::fit("speed", &x, &t).expect("good input");
    println!(
        "{rows} x {features} -> {outputs}: {:.2} s, strengths {:?}",
        start.elapsed().as_secs_f64(),
        ridge.lambda
    );
}
