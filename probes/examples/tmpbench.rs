use eqr_probes::mlp::*;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
fn ceiling() -> f64 {
    let a = Tensor::randn([4096, 4096], (Kind::Float, Device::Cpu));
    let b = Tensor::randn([4096, 4096], (Kind::Float, Device::Cpu));
    let o = Tensor::empty([4096, 4096], (Kind::Float, Device::Cpu));
    let mut best = f64::MAX;
    for _ in 0..10 {
        let t = Instant::now();
        let _ = a.matmul_out(&o, &b);
        best = best.min(t.elapsed().as_secs_f64());
    }
    2.0 * 4096f64.powi(3) / best / 1e9
}
fn main() {
    tch::set_num_threads(2);
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let [n, d, hidden, epochs, problems, seeds, shared] = args[..] else { panic!() };
    println!("ceiling {:.1}", ceiling());
    let x = Tensor::randn([n as i64, d as i64], (Kind::Float, Device::Cpu));
    let ps: Vec<Problem> = (0..problems)
        .map(|p| {
            let k = 1 + (p % 4) as i64;
            let x = if shared == 1 { x.shallow_clone() } else { x.copy() };
            Problem {
                name: format!("p{p}"),
                train_t: x.narrow(1, 0, k).copy(),
                test_x: x.narrow(0, 0, (n / 5) as i64).copy(),
                test_t: x.narrow(0, 0, (n / 5) as i64).narrow(1, 0, k).copy(),
                train_x: x,
            }
        })
        .collect();
    let s: Vec<u64> = (0..seeds as u64).collect();
    let cfg = ProbeConfig { hidden, epochs, ..Default::default() };
    let t = Instant::now();
    let mut marks = vec![];
    let fits = fit_with_progress(&ps, &s, &cfg, &mut |_, _| marks.push(t.elapsed().as_secs_f64())).unwrap();
    let total = t.elapsed().as_secs_f64();
    let best = marks.windows(2).map(|w| w[1] - w[0]).fold(f64::MAX, f64::min);
    let epoch = if marks.len() > 1 { (marks[marks.len() - 1] - marks[0]) / (marks.len() - 1) as f64 } else { marks[0] };
    let g = (problems * seeds) as f64;
    let (h, d, n) = (hidden as f64, d as f64, n as f64);
    let k = 4.0;
    let fwd = 2.0 * n * g * (d * h + h * h + h * k);
    let done = 3.0 * fwd - 2.0 * n * g * d * h;
    println!(
        "epoch {epoch:.3} s, setup+first {:.2}, eval {:.2}, total {total:.2}; performed {:.1} GFLOP/s, credited(3x fwd) {:.1}; after: ceiling {:.1}; r2 {:?}",
        marks[0],
        total - marks[marks.len() - 1],
        done / epoch / 1e9,
        3.0 * fwd / epoch / 1e9,
        ceiling(),
        fits[0][0].test.per_output
    );
}
