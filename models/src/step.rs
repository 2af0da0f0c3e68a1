//! One training step's gradient of the global batch, cut at y.
//!
//! Every rank encodes its own pairs; their y are gathered, and each rank runs heads, BatchNorm and global loss on the whole batch
//! from y as a fresh leaf, identically. The encoder then backpropagates `(y_local * dL/dy_local).sum()` plus its own per-pair
//! terms, and one reduction sums the per-sample gradients. Batch statistics are exact on any number of ranks.
//!
//! A rank that cannot hold the activations of its pairs encodes them in micro-batches: first without a graph, for y, then again one by
//! one for the vector-Jacobian products (gradient caching, Gao et al. 2021). The cut is the same, so are loss and gradient.
//!
//! Where the ranks can sum beside the computation, the encoder's graph is cut into segments: the gradient of one is summed while the
//! next below it is backpropagated.

use std::ops::Range;

use tch::{Tensor, no_grad};

use crate::arena::{Arena, Mark, Part, Span};
use crate::collective::Collective;
use crate::methods::{Model, Targets};
use crate::vit::{Encoded, Joint};

/// Pieces of the encoder's blocks whose gradients are summed on their own; what follows the blocks is one more.
const SEGMENTS: usize = 4;

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

/// Fills the arena's gradient with that of the global batch and returns the loss terms. At most `micro_batch` of this rank's pairs are
/// encoded at a time; all of them where it is `None`.
///
/// # Panics
/// If the model has nothing to train.
pub fn gradients(
    arena: &mut Arena,
    model: &Model,
    batch: &Batch,
    micro_batch: Option<i64>,
    cluster: &dyn Collective,
) -> LossTerms {
    let method = model.method.as_ref().expect("only trained methods take steps");
    let master = arena.compute().master_kind();
    let local = batch.rows[cluster.rank()];
    let parts = micro_batches(local, micro_batch);
    let segments = encoder_segments(arena.reduced_bytes(), cluster.overlaps_from());

    // the graph of a batch encoded at once is kept; of micro-batches only y is
    let mut kept = (parts.len() == 1).then(|| encode(arena, model, batch, &parts[0], segments));
    let y_local = match &kept {
        Some(views) => views.y().detach(),
        None => {
            let parts = parts.iter().map(|part| no_grad(|| encode(arena, model, batch, part, 0).y()));
            Tensor::cat(&parts.collect::<Vec<_>>(), 0)
        }
    };

    // gathered rows are (y1, y2, label, parameters), one row a pair
    let columns = [&y_local, &batch.labels.unsqueeze(1).to_kind(master), &batch.parameters.to_kind(master)];
    let gathered = cluster.all_gather(&Tensor::cat(&columns, 1), &batch.rows);
    let width = y_local.size()[1];
    let out = width / 2;
    let y = gathered.narrow(1, 0, width).contiguous().set_requires_grad(true); // (N, 2 out)
    let targets = Targets {
        labels: gathered.select(1, width).to_kind(tch::Kind::Int64),
        parameters: gathered.narrow(1, width + 1, gathered.size()[1] - width - 1),
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

    // encoder: vector-Jacobian products with dL/dy, plus the pairs' own term
    let before: i64 = batch.rows[..cluster.rank()].iter().sum();
    let total: i64 = batch.rows.iter().sum();
    let mut pair_term: Option<(&'static str, Tensor)> = None;
    for part in &parts {
        let last = part.end == local;
        let views = kept.take().unwrap_or_else(|| encode(arena, model, batch, part, segments));
        let length = part.end - part.start;
        let mut surrogate = (views.y() * dy.narrow(0, before + part.start, length)).sum(None::<tch::Kind>);
        let view2 = batch.view2.narrow(0, part.start, length);
        if let Some((name, mean)) = method.pair_term(arena, &views.view1, &views.view2, &view2) {
            let share = mean * (length as f64 / total as f64);
            surrogate += &share;
            let sum = pair_term.map_or_else(|| share.detach(), |(_, sum)| sum + share.detach());
            pair_term = Some((name, sum));
        }
        if let Some((_, sum)) = pair_term.as_ref().filter(|_| last) {
            no_grad(|| arena.reported(0).copy_(&sum.view([1])));
        }
        backpropagate(surrogate, views.joints, arena, &mut |arena, span, grads| {
            match part.start {
                0 => arena.store_gradients(span.clone(), grads),
                _ => arena.add_gradients(span.clone(), grads),
            }
            match (last, segments) {
                (false, _) => (),
                (true, 0) => cluster.all_reduce_sum(&mut arena.reduced(span)),
                (true, _) => cluster.start_sum(arena.reduced(span)),
            }
        });
    }
    cluster.finish_sums();
    if let Some((name, _)) = pair_term {
        terms.push((name, arena.reported(0).copy().view([] as [i64; 0])));
    }
    terms
}

/// Segments of the encoder's blocks whose gradients are summed on their own: as many as have `least` of the gradient's `bytes` each, at most
/// four. 0 where there would be one, and where `least` is `None`: then the gradient is summed after the backward pass.
pub fn encoder_segments(bytes: usize, least: Option<usize>) -> usize {
    let worth = least.map_or(0, |least| bytes / least.max(1)).min(SEGMENTS);
    if worth < 2 { 0 } else { worth }
}

/// Runs the backward pass of `objective` segment by segment, from the last to the first; `done` gets each segment's gradients as soon as
/// they are there.
fn backpropagate(
    mut objective: Tensor,
    mut joints: Vec<Joint>,
    arena: &mut Arena,
    done: &mut dyn FnMut(&mut Arena, &Span, &[Tensor]),
) {
    let mut end = None;
    loop {
        let joint = joints.pop();
        let first = joint.as_ref().map_or(Mark::default(), |joint| joint.mark);
        let span = Span::per_sample(first, end);
        let mut inputs = arena.leaves(span.clone());
        inputs.extend(joint.as_ref().map(|joint| joint.above.shallow_clone()));
        let mut grads = Tensor::run_backward(&[objective], &inputs, false, false);
        let below = joint.map(|joint| (joint.below, grads.pop().expect("the last input is the joint")));
        no_grad(|| done(arena, &span, &grads));
        let Some((below, gradient)) = below else { return };
        objective = (below * gradient).sum(None::<tch::Kind>);
        end = Some(first);
    }
}

/// `local` pairs in runs of at most `micro_batch`; one run, though an empty one, where there are none.
fn micro_batches(local: i64, micro_batch: Option<i64>) -> Vec<Range<i64>> {
    let length = micro_batch.unwrap_or(local).clamp(1, local.max(1));
    let starts = (0..local.max(1)).step_by(length as usize);
    starts.map(|start| start..(start + length).min(local)).collect()
}

/// The encoded views of a run of pairs.
struct Views {
    view1: Encoded,
    view2: Encoded,
    joints: Vec<Joint>,
    master: tch::Kind,
}

impl Views {
    /// (n, 2 out) in the master's kind: y of view 1, y of view 2.
    fn y(&self) -> Tensor {
        Tensor::cat(&[&self.view1.y, &self.view2.y], 1).to_kind(self.master)
    }
}

/// Encodes both views of the pairs `part` in one pass, its graph cut as [`crate::vit::Vit::forward_in_segments`] says.
fn encode(arena: &Arena, model: &Model, batch: &Batch, part: &Range<i64>, segments: usize) -> Views {
    let length = part.end - part.start;
    let view = |images: &Tensor| images.narrow(0, part.start, length);
    let images = Tensor::cat(&[view(&batch.view1), view(&batch.view2)], 0).to_kind(arena.compute().kind());
    let (encoded, joints) = model.encoder.forward_in_segments(arena, &images, segments); // (2n, ..)
    let (view1, view2) = (encoded.narrow(0, length), encoded.narrow(length, length));
    Views { view1, view2, joints, master: arena.compute().master_kind() }
}

/// The loss: sum of its terms.
pub fn sum(terms: &[(&'static str, Tensor)]) -> Tensor {
    let mut terms = terms.iter().map(|(_, term)| term);
    let first = terms.next().expect("a loss has terms").shallow_clone();
    terms.fold(first, |total, term| total + term)
}

#[cfg(test)]
mod tests {
    use super::encoder_segments;

    #[test]
    fn small_gradients_are_not_cut() {
        let least = Some(4 << 20);
        let mib = |mib: usize| encoder_segments(mib << 20, least);
        assert_eq!([mib(2), mib(7), mib(8), mib(13), mib(87)], [0, 0, 2, 3, 4]);
        assert_eq!([encoder_segments(87 << 20, None), encoder_segments(100, Some(0))], [0, 4]);
    }
}
