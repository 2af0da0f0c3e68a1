//! Gradients of the global batch are the same on any number of ranks, equal plain autograd on the whole
//! batch, and are non-zero for every parameter.

use eqr_models::collective::shares;
use eqr_models::decoder::DecoderConfig;
use eqr_models::methods::{PairInput, Targets, build};
use eqr_models::step::{Batch, gradients, sum};
use eqr_models::test_device::{test_device, test_tensor};
use eqr_models::thread_team::{Sums, run_on_threads};
use eqr_models::vit::{Pool, VitConfig};
use eqr_models::{
    Activations, Arena, Compute, MethodKind, Model, ModelConfig, ParameterGroup, Registry, Solo,
    encoder_gradient_norms,
};
use tch::{Kind, Tensor};

use crate::networks::{Case, PHOTOGRAPHS, cases, tiny};
use crate::rough;

fn config(pool: Pool, decoder: DecoderConfig) -> ModelConfig {
    let tiny = tiny(&PHOTOGRAPHS);
    ModelConfig { encoder: VitConfig { pool, ..tiny.encoder }, decoder, ..tiny }
}

fn network(case: &Case, pool: Pool) -> (Arena, Model) {
    let mut registry = Registry::default();
    let kind = case.method.parse::<MethodKind>().unwrap();
    let model = build(&kind, &config(pool, case.decoder), &mut registry).unwrap();
    (Arena::new(registry, 5, Compute::F64, test_device()), model)
}

/// The whole batch of 7 pairs: views, labels, parameters.
fn whole() -> [Tensor; 4] {
    let labels = test_tensor(&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0]);
    [rough(&[7, 3, 16, 16], 0.1), rough(&[7, 3, 16, 16], 0.7), labels, rough(&[7, 13], 0.3)]
}

fn batch(rank: usize, ranks: usize) -> Batch {
    let rows = shares(7, ranks);
    let before: usize = rows[..rank].iter().sum();
    let share = |t: &Tensor| t.narrow(0, before as i64, rows[rank] as i64);
    let whole = whole();
    let other_view1 = Some(share(&half_a_batch_on(&whole[0])));
    let [view1, view2, labels, parameters] = whole.map(|t| share(&t));
    let rows = rows.into_iter().map(|r| r as i64).collect();
    Batch { view1, view2, other_view1, labels, parameters, rows }
}

/// Row i is row i + N/2 of `view1` (N, ..), counted around.
fn half_a_batch_on(view1: &Tensor) -> Tensor {
    view1.roll([-(view1.size()[0] / 2)], [0])
}

fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    f64::try_from((found - expected).norm() / expected.norm()).unwrap()
}

const WHOLE: Activations = Activations { micro_batch: None, recompute: false };

fn at_a_time(micro_batch: impl Into<Option<i64>>) -> Activations {
    Activations { micro_batch: micro_batch.into(), ..WHOLE }
}

/// Flat gradient and loss of rank 0, computed on `ranks` ranks.
fn distributed(method: &Case, ranks: usize, activations: Activations, sums: Sums) -> (Tensor, f64) {
    let results = run_on_threads(ranks, sums, |team| {
        let (mut arena, model) = network(method, Pool::Split);
        let terms = gradients(&mut arena, &model, &batch(team.rank(), ranks), activations, team);
        (arena.gradient().copy(), f64::try_from(sum(&terms)).unwrap())
    });
    for (gradient, loss) in &results[1..] {
        assert_eq!(*loss, results[0].1, "{method}: every rank reports the same loss");
        assert!(relative(gradient, &results[0].0) == 0.0, "{method}: every rank holds the same gradient");
    }
    results.into_iter().next().unwrap()
}

#[test]
fn gradients_do_not_depend_on_ranks_or_micro_batches() {
    for method in &cases() {
        let (alone, loss) = distributed(method, 1, WHOLE, Sums::AtOnce);
        // splits of 7 pairs: whole, halves, quarters, single pairs
        for (ranks, micro_batch) in [
            (2, None),
            (3, None),
            (4, None),
            (1, Some(4)),
            (1, Some(2)),
            (1, Some(1)),
            (2, Some(2)),
            (4, Some(1)),
        ] {
            let (shared, shared_loss) = distributed(method, ranks, at_a_time(micro_batch), Sums::AtOnce);
            let error = relative(&shared, &alone);
            assert!(error < 1e-9, "{method}, {ranks} ranks, micro-batches of {micro_batch:?}: {error:e}");
            assert!((shared_loss - loss).abs() < 1e-9 * loss.abs(), "{method}: {loss} {shared_loss}");
        }
    }
}

/// Cutting the encoder at detached leaves changes only the order of calls, so the results are bitwise equal.
#[test]
fn segments_summed_on_their_own_give_the_gradient_summed_at_once() {
    for method in &cases() {
        for (ranks, micro_batch) in [(1, None), (1, Some(2)), (2, None), (3, Some(2)), (4, None)] {
            let (whole, loss) = distributed(method, ranks, at_a_time(micro_batch), Sums::AtOnce);
            let (segments, segments_loss) =
                distributed(method, ranks, at_a_time(micro_batch), Sums::AtTheEnd);
            let same = segments.equal(&whole) && segments_loss == loss;
            assert!(
                same,
                "{method}, {ranks} ranks, micro-batches of {micro_batch:?}: {:e}",
                relative(&segments, &whole)
            );
        }
    }
}

/// Blocks that are computed again are computed alike, so the results are bitwise equal.
#[test]
fn blocks_that_are_computed_again_give_the_gradient_of_those_that_are_kept() {
    for method in &cases() {
        for (ranks, micro_batch) in [(1, None), (1, Some(2)), (2, None), (3, Some(2))] {
            for sums in [Sums::AtOnce, Sums::AtTheEnd] {
                let kept = at_a_time(micro_batch);
                let recomputed = Activations { recompute: true, ..kept };
                let (expected, loss) = distributed(method, ranks, kept, sums);
                let (gradient, own_loss) = distributed(method, ranks, recomputed, sums);
                assert!(
                    gradient.equal(&expected) && own_loss == loss,
                    "{method}, {ranks} ranks, micro-batches of {micro_batch:?}, {sums:?}: {:e}",
                    relative(&gradient, &expected)
                );
            }
        }
        let (arena, model) = network(method, Pool::Split);
        let norms = |recompute| {
            let activations = Activations { micro_batch: Some(4), recompute };
            encoder_gradient_norms(&arena, &model, &batch(0, 1), activations, &Solo)
        };
        assert_eq!(norms(true), norms(false), "{method}");
    }
}

/// Compares the cut at y with one uncut backward pass through the encoder, the heads and the loss.
#[test]
fn the_cut_at_y_gives_the_gradient_of_the_uncut_loss() {
    for method in &cases() {
        for pool in [Pool::Split, Pool::Mean, Pool::Cls] {
            let (mut arena, model) = network(method, pool);
            let terms = gradients(&mut arena, &model, &batch(0, 1), WHOLE, &Solo);
            let cut = arena.gradient().copy();

            let [view1, view2, labels, parameters] = whole();
            let (first, second) =
                (model.encoder.forward(&arena, &view1), model.encoder.forward(&arena, &view2));
            let targets = Targets { labels: labels.to_kind(Kind::Int64), parameters };
            let losses = model.method.as_ref().unwrap();
            let mut uncut = losses.global_terms(&arena, &first.y, &second.y, &targets);
            let other = losses.takes_other_view1().then(|| first.rolled(-(view1.size()[0] / 2)));
            let mixed = losses.mixed(&arena, &first.y, &second.y);
            let views = PairInput::Views { source: other.as_ref().unwrap_or(&first), query: &second };
            let pair = mixed.as_ref().map_or(views, PairInput::Mixed);
            uncut.extend(losses.pair_term(&arena, pair, &view2));
            let loss = sum(&uncut);
            let norms = encoder_gradient_norms(&arena, &model, &batch(0, 1), at_a_time(4), &Solo);
            let encoder: Vec<Tensor> =
                arena.leaves(ParameterGroup::PerSample).into_iter().take(encoder_tensors(&arena)).collect();
            for ((name, norm), (term, value)) in norms.iter().zip(&uncut) {
                let gradients = Tensor::run_backward(&[value], &encoder, true, false);
                let squares: f64 =
                    gradients.iter().map(|g| g.square().sum(Kind::Double).double_value(&[])).sum();
                let error = (norm - squares.sqrt()).abs();
                assert!(name == term && error < 1e-9 * squares.sqrt(), "{method}, {name}: {norm} {squares}");
            }
            assert_eq!(norms.len(), uncut.len());
            for group in [ParameterGroup::PerSample, ParameterGroup::Global] {
                let grads = Tensor::run_backward(&[&loss], &arena.leaves(group), true, false);
                arena.store_gradients(group, &grads);
            }
            let error = relative(&cut, &arena.gradient());
            assert!(error < 1e-12, "{method}, {pool:?}: {error:e}");
            let (a, b) = (f64::try_from(sum(&terms)).unwrap(), f64::try_from(loss).unwrap());
            assert!((a - b).abs() < 1e-12 * b.abs(), "{method}: {a} {b}");
        }
    }
}

/// The encoder's parameters are registered first, and the output layer's bias is the last of them.
fn encoder_tensors(arena: &Arena) -> usize {
    arena.names().position(|(name, _)| name == "out.bias").unwrap() + 1
}

/// The norms do not depend on how the batch is split, as the gradient does not.
#[test]
fn norms_of_terms_do_not_depend_on_ranks_or_micro_batches() {
    for method in &cases() {
        let norms = |ranks: usize, micro_batch| {
            let all = run_on_threads(ranks, Sums::AtOnce, |team| {
                let (arena, model) = network(method, Pool::Split);
                encoder_gradient_norms(
                    &arena,
                    &model,
                    &batch(team.rank(), ranks),
                    at_a_time(micro_batch),
                    team,
                )
            });
            assert!(all.iter().all(|norms| *norms == all[0]), "{method}: ranks differ");
            all.into_iter().next().unwrap()
        };
        let alone = norms(1, None);
        for (ranks, micro_batch) in [(3, None), (2, Some(2))] {
            for ((name, norm), (_, expected)) in norms(ranks, micro_batch).iter().zip(&alone) {
                assert!((norm - expected).abs() < 1e-9 * expected, "{method}, {name}: {norm} {expected}");
            }
        }
    }
}

/// Central differences of the loss along a random direction of the whole parameter vector.
#[test]
fn gradients_equal_finite_differences() {
    for method in &cases() {
        let (mut arena, model) = network(method, Pool::Split);
        gradients(&mut arena, &model, &batch(0, 1), WHOLE, &Solo);
        let gradient = arena.gradient().copy();
        let start = arena.master().copy();
        let direction = rough(&start.size(), 0.2);
        let slope = f64::try_from(gradient.dot(&direction)).unwrap();
        // batch statistics of seven pairs have high curvature, so the step is short
        let step = 1e-9;
        let mut loss_at = |offset: f64| {
            tch::no_grad(|| arena.master().shallow_clone().copy_(&(&start + &direction * offset)));
            f64::try_from(sum(&gradients(&mut arena, &model, &batch(0, 1), WHOLE, &Solo))).unwrap()
        };
        let numeric = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!((slope - numeric).abs() < 1e-3 * slope.abs().max(1e-2), "{method}: {slope} {numeric}");
    }
}

/// A parameter without a gradient would never be updated. The check is per tensor, so rows of `out` that a
/// method does not read are covered by the rows that it does read.
#[test]
fn every_parameter_of_every_method_receives_a_gradient() {
    for method in &cases() {
        let (mut arena, model) = network(method, Pool::Split);
        gradients(&mut arena, &model, &batch(0, 1), WHOLE, &Solo);
        let dead: Vec<String> = arena
            .named(&arena.gradient())
            .into_iter()
            .filter(|(_, gradient)| f64::try_from(gradient.abs().max()).unwrap() == 0.0)
            .map(|(name, _)| name)
            .collect();
        assert!(dead.is_empty(), "{method}: {dead:?}");
    }
}

/// The readings mix number types: heads and attention over the batch are in fp32, the decoder in bf16.
#[test]
fn readings_have_finite_gradients_in_bf16() {
    for case in cases().iter().filter(|case| case.method.starts_with("Ours")) {
        let mut registry = Registry::default();
        let kind = case.method.parse::<MethodKind>().unwrap();
        let model = build(&kind, &config(Pool::Split, case.decoder), &mut registry).unwrap();
        let mut arena = Arena::new(registry, 5, Compute::Bf16, test_device());
        let whole = batch(0, 1);
        let fp32 = |tensor: &Tensor| tensor.to_kind(Kind::Float);
        let batch = Batch {
            view1: fp32(&whole.view1),
            view2: fp32(&whole.view2),
            other_view1: whole.other_view1.as_ref().map(fp32),
            labels: fp32(&whole.labels),
            parameters: fp32(&whole.parameters),
            rows: whole.rows,
        };
        gradients(&mut arena, &model, &batch, at_a_time(4), &Solo);
        let norm = f64::try_from(arena.gradient().norm()).unwrap();
        assert!(norm > 0.0 && norm.is_finite(), "{case}: {norm}");
    }
}

/// bf16 forward and backward passes with fp32 master weights stay close to fp32. At initialisation the CLS
/// token hardly differs between images, and a BatchNorm over seven images amplifies rounding errors. This
/// test therefore uses mean pooling and losses without BatchNorm.
#[test]
fn bf16_gradients_stay_near_fp32() {
    for method in ["Supervised", "Direct regression"] {
        let gradient = |compute| {
            let mut registry = Registry::default();
            let model =
                build(&method.parse().unwrap(), &config(Pool::Mean, DecoderConfig::default()), &mut registry)
                    .unwrap();
            let mut arena = Arena::new(registry, 5, compute, test_device());
            let mut batch = batch(0, 1);
            for tensor in [&mut batch.view1, &mut batch.view2, &mut batch.labels, &mut batch.parameters] {
                *tensor = tensor.to_kind(Kind::Float);
            }
            gradients(&mut arena, &model, &batch, WHOLE, &Solo);
            arena.gradient().to_kind(Kind::Double)
        };
        let error = relative(&gradient(Compute::Bf16), &gradient(Compute::F32));
        assert!(error < 0.1, "{method}: {error}");
    }
}
