//! Every method can fit eight pairs. Its loss approaches the minimum, which shows that every part of its
//! gradient is non-zero and has the correct sign.
//!
//! With `EQR_TEST_FULL=1`, training is long enough to approach the minimum. Without it, a shorter training
//! must reduce most of the loss. Results are recorded in `results/reference/overfit`.
//!
//! It is a process of its own, because the number of threads that it sets is one for all tests of a process:
//! tests that compare bits would fail beside it.

#[path = "it/networks.rs"]
mod networks;

use eqr_models::adam::Adam;
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{OursVariant, SieKind, Ssl, build};
use eqr_models::schedule::{Decay, Schedule};
use eqr_models::step::{Batch, gradients, sum};
use eqr_models::test_device::test_device;
use eqr_models::vit::VitConfig;
use eqr_models::{Activations, Arena, Compute, MethodKind, ModelConfig, Registry, Solo};
use tch::{Kind, Tensor};

use networks::{PHOTOGRAPHS, cases, tiny};

const PAIRS: i64 = 8;

/// Upper limits of a method's loss after the short and the long training. All minima are 0 except that of the
/// contrastive loss, which is 0.005 for eight directions in three dimensions at temperature 0.1.
fn limits(kind: &MethodKind) -> [f64; 2] {
    match kind {
        MethodKind::Ours { ssl, variant: OursVariant::NoReconstruction } => joint(ssl.unwrap_or_default()),
        MethodKind::Ours { ssl: Some(Ssl::Simclr), .. } => [1.5, 0.02],
        MethodKind::Ours { .. } => [1.5, 0.01],
        MethodKind::VicregCls => [0.4, 0.002],
        MethodKind::Ssl(ssl) => joint(*ssl),
        MethodKind::Sie(SieKind { prediction_variance: true, .. }) => [1.5, 0.005],
        MethodKind::Sie(SieKind { prediction_variance: false, .. }) => [1.0, 0.001],
        MethodKind::Supervised => [0.2, 0.002],
        MethodKind::Direct(_) => [0.3, 0.001],
        // a loss whose minimum is 0
        _ => [0.3, 0.002],
    }
}

fn joint(ssl: Ssl) -> [f64; 2] {
    let limits = [(Ssl::Vicreg, [0.1, 0.001]), (Ssl::Simclr, [0.05, 0.01]), (Ssl::Barlow, [0.02, 0.001])];
    limits.into_iter().find(|(loss, _)| *loss == ssl).map_or([0.1, 0.02], |(_, limits)| limits)
}

/// Embeddings have three dimensions, so that the covariances of both halves can vanish over eight pairs.
fn config(decoder: DecoderConfig) -> ModelConfig {
    let tiny = tiny(&PHOTOGRAPHS);
    ModelConfig {
        encoder: VitConfig { patch: 4, dim: 32, out: 32, ..tiny.encoder },
        heads: HeadConfig { hidden: 32, embed: 3 },
        decoder: DecoderConfig { dim: 32, ..decoder },
        classes: 4,
        ..tiny
    }
}

/// Waves with different directions, lengths and colours. View 2 is shifted and recoloured according to the
/// parameters.
fn pairs() -> Batch {
    let parameters =
        (Tensor::arange(PAIRS * 13, (Kind::Float, test_device())) * 12.9898).sin().view([PAIRS, 13]);
    let axis = Tensor::arange(16, (Kind::Float, test_device())) / 16.0;
    let image = |pair: i64, shift: f64, colour: f64| {
        let direction = pair as f64 * 0.7;
        let (x, y) = (&axis * (6.0 * direction.cos()), &axis * (6.0 * direction.sin()));
        let wave = x.unsqueeze(0) + y.unsqueeze(1) + shift; // (16, 16)
        let channel = |c: i64| (&wave + (pair * c) as f64 + colour * c as f64).sin() * 1.4;
        Tensor::stack(&[channel(0), channel(1), channel(2)], 0)
    };
    let view = |image: &dyn Fn(i64) -> Tensor| Tensor::stack(&(0..PAIRS).map(image).collect::<Vec<_>>(), 0);
    let parameter = |pair: i64, column: i64| parameters.double_value(&[pair, column]);
    let view1 = view(&|pair| image(pair, 0.0, 0.0));
    Batch {
        other_view1: Some(view1.roll([-PAIRS / 2], [0])),
        view1,
        view2: view(&|pair| image(pair, parameter(pair, 1), 0.5 * parameter(pair, 3))),
        labels: Tensor::arange(PAIRS, (Kind::Float, test_device())).remainder(4.0),
        parameters,
        rows: vec![PAIRS],
    }
}

/// Losses before and after `steps` steps.
fn trained(kind: &MethodKind, decoder: DecoderConfig, steps: i64) -> [f64; 2] {
    let mut registry = Registry::default();
    let model = build(kind, &config(decoder), &mut registry).unwrap();
    let mut arena = Arena::new(registry, 3, Compute::F32, test_device());
    let mut adam = Adam::new(&arena, 0.0);
    let schedule = Schedule { peak: 3e-3, warmup: 10, total: steps, decay: Decay::Cosine };
    let batch = pairs();
    let loss = |arena: &mut Arena| {
        f64::try_from(sum(&gradients(arena, &model, &batch, Activations::default(), &Solo))).unwrap()
    };
    let first = loss(&mut arena);
    for step in 0..steps {
        loss(&mut arena);
        adam.update(&mut arena, schedule.at(step));
    }
    [first, loss(&mut arena)]
}

#[test]
fn every_method_fits_eight_pairs() {
    tch::set_num_threads(1); // for tensors of a few kilobytes, more threads only add waiting time
    let full = std::env::var_os("EQR_TEST_FULL").is_some();
    let steps = if full { 1000 } else { 120 };
    let mut short_of = Vec::new();
    for case in cases() {
        let kind = case.method.parse::<MethodKind>().unwrap();
        let [first, last] = trained(&kind, case.decoder, steps);
        println!("| {case} | {first:.3} | {last:.4} |");
        let limit = limits(&kind)[usize::from(full)];
        if last >= limit {
            short_of.push(format!("{case}: {first} -> {last} in {steps} steps, not below {limit}"));
        }
    }
    assert!(short_of.is_empty(), "{short_of:#?}");
}
