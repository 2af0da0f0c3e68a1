//! Norms of the encoder's gradient, one for each term of a loss: how much each term moves the encoder.

use tch::{Kind, Tensor, no_grad};

use crate::arena::Arena;
use crate::collective::Collective;
use crate::methods::Model;
use crate::step::{Batch, GlobalLosses, encode, micro_batches, pair_share};
use crate::vector_jacobian::{Graph, Output, vector_jacobian};

/// Euclidean norm of the gradient of every term with respect to the encoder's parameters, on the global
/// batch, in the order of the terms. The norms are equal on every rank. At most `micro_batch` of this rank's
/// pairs are encoded at a time. The arena's gradient is not changed.
///
/// # Panics
/// Panics if the model has no method.
pub fn encoder_gradient_norms(
    arena: &Arena,
    model: &Model,
    batch: &Batch,
    micro_batch: Option<i64>,
    cluster: &dyn Collective,
) -> Vec<(&'static str, f64)> {
    let runs = micro_batches(batch.rows[cluster.rank()], micro_batch);
    let before = batch.first_row(cluster);
    let y = runs.iter().map(|run| no_grad(|| encode(arena, model, batch, run, 0).y()));
    let y_local = Tensor::cat(&y.collect::<Vec<_>>(), 0);
    let global = GlobalLosses::new(arena, model, batch, &y_local, &runs, cluster);

    // dL/dy of every term that reaches the encoder through y
    let through_y =
        |objective: &Tensor| Tensor::run_backward(&[objective], &[&global.y], true, false).remove(0);
    let mut names: Vec<&'static str> = global.terms.iter().map(|(name, _)| *name).collect();
    let dys: Vec<Tensor> = global.terms.iter().map(|(_, term)| through_y(term)).collect();
    let mixed_dy = global.mixed_objective().map(|objective| through_y(&objective));
    let leaves = arena.leaves(model.encoder.span());
    let flat = |output: Output| {
        let gradients = vector_jacobian(&[output], &leaves, Graph::Kept);
        let flat: Vec<Tensor> =
            gradients.iter().map(|g| g.reshape([-1]).to_kind(arena.compute().master_kind())).collect();
        Tensor::cat(&flat, 0)
    };
    let mut sums: Vec<Tensor> = Vec::new();
    for run in &runs {
        let views = encode(arena, model, batch, run, 0);
        let y = views.y();
        let on_y = |dy: &Tensor| Output {
            value: y.shallow_clone(),
            gradient: dy.narrow(0, before + run.start, run.end - run.start),
        };
        let mut outputs: Vec<Output> = dys.iter().map(on_y).collect();
        let mixed = global.mixed_rows(before, run);
        if let Some((name, share)) = pair_share(arena, model, batch, run, views.pair_input(mixed.as_ref())) {
            // mixed vectors are detached here; their gradient reaches the encoder through y
            outputs.push(mixed_dy.as_ref().map_or_else(|| Output::number(share), on_y));
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        for (term, output) in outputs.into_iter().enumerate() {
            let gradient = flat(output);
            match sums.get_mut(term) {
                Some(sum) => *sum += gradient,
                None => sums.push(gradient),
            }
        }
    }
    let norm = |sum: &mut Tensor| {
        cluster.all_reduce_sum(sum);
        sum.norm().to_kind(Kind::Double)
    };
    // read together, because the device must be waited for
    let norms = Tensor::stack(&sums.iter_mut().map(norm).collect::<Vec<_>>(), 0);
    names.into_iter().zip(Vec::<f64>::try_from(norms).expect("a row of numbers")).collect()
}
