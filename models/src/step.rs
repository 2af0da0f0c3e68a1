//! One training step's gradient of the global batch, cut at y.
//!
//! Every rank encodes its own pairs; their y are gathered, and each rank runs heads, BatchNorm and global loss on the whole batch
//! from y as a fresh leaf, identically. The encoder then backpropagates `(y_local * dL/dy_local).sum()` plus its own per-pair
//! terms, and one reduction sums the per-sample gradients. Batch statistics are exact on any number of ranks.

use tch::{Tensor, no_grad};

use crate::arena::{Arena, Part};
use crate::collective::Collective;
use crate::methods::{Model, Targets};

/// A rank's part of a batch of pairs.
pub struct Batch {
    /// (n, 3, H, W), normalised, fp32: view 1.
    pub view1: Tensor,
    /// (n, 3, H, W), normalised, fp32: view 2.
    pub view2: Tensor,
    /// (n), class index as a float.
    pub labels: Tensor,
    /// (n, parameters), fp32.
    pub parameters: Tensor,
    /// Pairs that each rank holds.
    pub rows: Vec<i64>,
}

/// Loss terms of the global batch, in the method's order; equal on every rank.
pub type LossTerms = Vec<(&'static str, Tensor)>;

/// Fills the arena's gradient with that of the global batch and returns the loss terms.
///
/// # Panics
/// If the model has nothing to train.
pub fn gradients(arena: &mut Arena, model: &Model, batch: &Batch, cluster: &dyn Collective) -> LossTerms {
    let method = model.method.as_ref().expect("only trained methods take steps");
    let master = arena.compute().master_kind();
    let local = batch.rows[cluster.rank()];
    let total: i64 = batch.rows.iter().sum();

    // both views in one pass: (2n, 3, H, W)
    let images = Tensor::cat(&[&batch.view1, &batch.view2], 0).to_kind(arena.compute().kind());
    let encoded = model.encoder.forward(arena, &images);
    let y_local = encoded.y.to_kind(master); // (2n, out)

    // gathered rows are (y1, y2, label, parameters), one row a pair
    let (y1, y2) = (y_local.narrow(0, 0, local), y_local.narrow(0, local, local));
    let columns =
        [&y1.detach(), &y2.detach(), &batch.labels.unsqueeze(1).to_kind(master), &batch.parameters.to_kind(master)];
    let gathered = cluster.all_gather(&Tensor::cat(&columns, 1), &batch.rows);
    let out = y_local.size()[1];
    let y = gathered.narrow(1, 0, 2 * out).contiguous().set_requires_grad(true); // (N, 2 out)
    let targets = Targets {
        labels: gathered.select(1, 2 * out).to_kind(tch::Kind::Int64),
        parameters: gathered.narrow(1, 2 * out + 1, gathered.size()[1] - 2 * out - 1),
    };

    // heads and global loss on the whole batch
    let mut terms = method.global_terms(arena, &y.narrow(1, 0, out), &y.narrow(1, out, out), &targets);
    let mut inputs = arena.leaves(Part::Global);
    inputs.push(y.shallow_clone());
    let mut grads = Tensor::run_backward(&[sum(&terms)], &inputs, false, false);
    let dy = grads.pop().expect("the last input is y");
    no_grad(|| arena.store_gradients(Part::Global, &grads));
    for (_, term) in &mut terms {
        *term = term.detach();
    }

    // encoder: vector-Jacobian product with dL/dy, plus the pairs' own term
    let before: i64 = batch.rows[..cluster.rank()].iter().sum();
    let dy = dy.narrow(0, before, local);
    let mut surrogate =
        (y1 * dy.narrow(1, 0, out)).sum(None::<tch::Kind>) + (y2 * dy.narrow(1, out, out)).sum(None::<tch::Kind>);
    let (view1, view2) = (encoded.narrow(0, local), encoded.narrow(local, local));
    let pair = method.pair_term(arena, &view1, &view2, &batch.view2);
    if let Some((_, mean)) = &pair {
        surrogate += mean * (local as f64 / total as f64);
    }
    let leaves = arena.leaves(Part::PerSample);
    let grads = Tensor::run_backward(&[surrogate], &leaves, false, false);
    no_grad(|| {
        arena.store_gradients(Part::PerSample, &grads);
        if let Some((_, mean)) = &pair {
            arena.reported(0).copy_(&(mean.detach() * (local as f64 / total as f64)).view([1]));
        }
        cluster.all_reduce_sum(&mut arena.reduced());
    });
    if let Some((name, _)) = pair {
        terms.push((name, arena.reported(0).copy().view([] as [i64; 0])));
    }
    terms
}

/// The loss: sum of its terms.
pub fn sum(terms: &[(&'static str, Tensor)]) -> Tensor {
    let mut terms = terms.iter().map(|(_, term)| term);
    let first = terms.next().expect("a loss has terms").shallow_clone();
    terms.fold(first, |total, term| total + term)
}
