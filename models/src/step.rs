//! The gradient of one training step on the global batch, with the graph cut at y.
//!
//! Every rank encodes its own pairs, and the representations y are gathered. Each rank then runs the heads,
//! BatchNorm and the global loss on the whole batch, with y as a new leaf, so all ranks compute the same
//! values. Next, each rank backpropagates dL/dy_local and its own per-pair terms through the encoder, and one
//! reduction sums the per-sample gradients. Batch statistics are exact on any number of ranks.
//!
//! If the activations of a rank's pairs do not fit in memory, the rank encodes them in micro-batches. It
//! first computes y without a graph, then encodes each micro-batch again for the vector-Jacobian products
//! (gradient caching, Gao et al. 2021). The cut is the same, so the loss and the gradient are the same. Of a
//! micro-batch, the rank may keep only the inputs of the encoder's blocks, and compute each block again when
//! its turn in the backward pass comes.
//!
//! If the ranks can overlap sums with the computation, the encoder's graph is cut into segments. The gradient
//! of one segment is summed while the segment below it is backpropagated.

use std::ops::Range;

use tch::{Kind, Tensor, no_grad};

use crate::activations::Activations;
use crate::arena::Arena;
use crate::collective::Collective;
use crate::methods::{Method, Model, PairInput, Targets, Term};
use crate::registry::{Mark, ParameterGroup, Span};
use crate::step_stage::StepStage;
use crate::vit::{Cutting, Encoded, GraphCut, Vit};
use eqr_device::vector_jacobian::{Graph, Output, vector_jacobian};

/// Maximum number of pieces of the encoder's blocks that are summed separately. The layers after the blocks
/// are one more piece.
const SEGMENTS: usize = 4;

/// A rank's share of a batch of pairs.
#[derive(Debug)]
pub struct Batch {
    /// (n, 3, H, W), normalised, fp32: view 1.
    pub view1: Tensor,
    /// (n, 3, H, W), normalised, fp32: view 2.
    pub view2: Tensor,
    /// (n, 3, H, W), normalised, fp32: view 1 of the pair half a batch further on, for methods that take it
    /// ([`crate::MethodKind::takes_other_view1`]).
    pub other_view1: Option<Tensor>,
    /// (n), class indices as floats.
    pub labels: Tensor,
    /// (n, parameters), fp32.
    pub parameters: Tensor,
    /// Number of pairs on each rank.
    pub rows: Vec<i64>,
}

impl Batch {
    /// Everything that is on the device.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let Batch { view1, view2, other_view1, labels, parameters, rows: _ } = self;
        [view1, view2, labels, parameters].into_iter().chain(other_view1)
    }

    /// The same pairs in memory of their own.
    pub(crate) fn copy(&self) -> Batch {
        let Batch { view1, view2, other_view1, labels, parameters, rows } = self;
        Batch {
            view1: view1.copy(),
            view2: view2.copy(),
            other_view1: other_view1.as_ref().map(Tensor::copy),
            labels: labels.copy(),
            parameters: parameters.copy(),
            rows: rows.clone(),
        }
    }

    /// The row of this rank's first pair in the global batch.
    pub(crate) fn first_row(&self, cluster: &dyn Collective) -> i64 {
        self.rows[..cluster.rank()].iter().sum()
    }
}

/// Loss terms of the global batch, in the method's order. They are equal on every rank.
pub type LossTerms = Vec<(&'static str, Tensor)>;

/// Fills the arena with the gradient of the global batch and returns the loss terms.
///
/// # Panics
/// Panics if the model has no method.
pub fn gradients(
    arena: &mut Arena,
    model: &Model,
    batch: &Batch,
    activations: Activations,
    cluster: &dyn Collective,
) -> LossTerms {
    let local = batch.rows[cluster.rank()];
    let before = batch.first_row(cluster);
    let runs = activations.runs(local);
    let segments = encoder_segments(arena.reduced_bytes(), cluster.overlaps_from());
    let cutting = Cutting { segments, recompute: activations.recompute };

    cluster.begin_stage(StepStage::Encoder);
    // the graph is kept if the batch is encoded at once; otherwise only y is kept
    let mut kept = (runs.len() == 1).then(|| encode(arena, model, batch, &runs[0], cutting));
    let y_local = match &kept {
        Some(views) => views.y().detach(),
        None => {
            let y =
                runs.iter().map(|run| no_grad(|| encode(arena, model, batch, run, Cutting::default()).y()));
            Tensor::cat(&y.collect::<Vec<_>>(), 0)
        }
    };

    // heads and global loss, on the whole batch
    cluster.begin_stage(StepStage::Losses);
    let global = GlobalLosses::new(arena, model, batch, &y_local, &runs, cluster);
    let mut inputs = arena.leaves(ParameterGroup::Global);
    inputs.push(global.y.shallow_clone());
    let mut grads = Tensor::run_backward(&[global.objective()], &inputs, false, false);
    let dy = grads.pop().expect("the last input is y");
    no_grad(|| arena.store_gradients(ParameterGroup::Global, &grads));
    let mut terms: LossTerms = global.terms.iter().map(|(name, term)| (*name, term.detach())).collect();

    cluster.begin_stage(StepStage::Encoder);
    // encoder: vector-Jacobian products with dL/dy, plus the per-pair term
    let mut pair_term: Option<(&'static str, Tensor)> = None;
    for run in &runs {
        let last = run.end == local;
        let views = kept.take().unwrap_or_else(|| encode(arena, model, batch, run, cutting));
        let dy = dy.narrow(0, before + run.start, run.end - run.start);
        let mut outputs = vec![Output { value: views.y(), gradient: dy }];
        let mixed = global.mixed_rows(before, run);
        if let Some((name, share)) = pair_share(arena, model, batch, run, views.pair_input(mixed.as_ref())) {
            let sum = pair_term.map_or_else(|| share.detach(), |(_, sum)| sum + share.detach());
            pair_term = Some((name, sum));
            outputs.push(Output::number(share));
        }
        if let Some((_, sum)) = pair_term.as_ref().filter(|_| last) {
            no_grad(|| arena.reported(0).copy_(&sum.view([1])));
        }
        backpropagate(outputs, views.cuts, &model.encoder, arena, &mut |arena, piece| {
            match run.start {
                0 => arena.store_gradients(piece.span, piece.gradients),
                _ => arena.add_gradients(piece.span, piece.gradients),
            }
            let Some(segment) = piece.segment.filter(|_| last) else { return };
            match segments {
                0 => cluster.all_reduce_sum(&mut arena.reduced(&segment)),
                _ => cluster.start_sum(arena.reduced(&segment)),
            }
        });
    }
    cluster.finish_sums();
    if let Some((name, _)) = pair_term {
        terms.push((name, arena.reported(0).copy().view([] as [i64; 0])));
    }
    terms
}

/// The losses on the whole batch, with the graph from y to them.
pub(crate) struct GlobalLosses {
    /// (N, 2 out), a leaf: y of view 1, then y of view 2.
    pub(crate) y: Tensor,
    /// The terms on y.
    pub(crate) terms: Vec<Term>,
    mixed: Option<Mixed>,
}

/// [`Method::mixed`] vectors (N, d), and the gradient of the pair term with respect to them.
struct Mixed {
    vectors: Tensor,
    gradient: Tensor,
}

impl GlobalLosses {
    /// Gathers y from all ranks, of which this one has `y_local` (n, 2 out), and computes the terms.
    pub(crate) fn new(
        arena: &Arena,
        model: &Model,
        batch: &Batch,
        y_local: &Tensor,
        runs: &[Range<i64>],
        cluster: &dyn Collective,
    ) -> GlobalLosses {
        let method = method(model);
        let master = arena.compute().master_kind();
        // one row per pair: (y1, y2, label, parameters)
        let columns =
            [y_local, &batch.labels.unsqueeze(1).to_kind(master), &batch.parameters.to_kind(master)];
        let gathered = cluster.all_gather(&Tensor::cat(&columns, 1), &batch.rows);
        let width = y_local.size()[1];
        let out = width / 2;
        let y = gathered.narrow(1, 0, width).contiguous().set_requires_grad(true); // (N, 2 out)
        let targets = Targets {
            labels: gathered.select(1, width).to_kind(Kind::Int64),
            parameters: gathered.narrow(1, width + 1, gathered.size()[1] - width - 1),
        };
        let (y1, y2) = (y.narrow(1, 0, out), y.narrow(1, out, out));
        let terms = method.global_terms(arena, &y1, &y2, &targets);
        let mixed = method.mixed(arena, &y1, &y2).map(|vectors| {
            let gradient = |run: &Range<i64>| {
                let rows = rows_of(&vectors, batch.first_row(cluster), run).set_requires_grad(true);
                let (_, share) = pair_share(arena, model, batch, run, PairInput::Mixed(&rows))
                    .expect("a method that mixes pairs has a term of them");
                Tensor::run_backward(&[share], &[&rows], false, false).remove(0)
            };
            let local = Tensor::cat(&runs.iter().map(gradient).collect::<Vec<_>>(), 0);
            Mixed { gradient: cluster.all_gather(&local, &batch.rows), vectors }
        });
        GlobalLosses { y, terms, mixed }
    }

    /// A scalar with the gradient of the loss with respect to the heads and y. The pair term contributes only
    /// what passes through the mixed vectors.
    fn objective(&self) -> Tensor {
        let terms = sum(&self.terms);
        self.mixed_objective().map_or_else(|| terms.shallow_clone(), |mixed| &terms + mixed)
    }

    /// A scalar with the gradient of the pair term with respect to the heads and y, if it passes through
    /// mixed vectors.
    pub(crate) fn mixed_objective(&self) -> Option<Tensor> {
        let Mixed { vectors, gradient } = self.mixed.as_ref()?;
        Some((vectors * gradient).sum(None::<Kind>))
    }

    /// The mixed vectors of the pairs `run`, detached. `before` is the row of this rank's first pair.
    pub(crate) fn mixed_rows(&self, before: i64, run: &Range<i64>) -> Option<Tensor> {
        self.mixed.as_ref().map(|mixed| rows_of(&mixed.vectors, before, run))
    }
}

/// The share of the pairs `run` in the pair term, which is a mean over all pairs.
pub(crate) fn pair_share(
    arena: &Arena,
    model: &Model,
    batch: &Batch,
    run: &Range<i64>,
    input: PairInput<'_>,
) -> Option<Term> {
    let length = run.end - run.start;
    let total: i64 = batch.rows.iter().sum();
    let (name, mean) = method(model).pair_term(arena, input, &batch.view2.narrow(0, run.start, length))?;
    Some((name, mean * (length as f64 / total as f64)))
}

/// # Panics
/// Panics if the model has no method.
fn method(model: &Model) -> &dyn Method {
    &**model.method.as_ref().expect("only trained methods take steps")
}

/// Rows of the pairs `run` of the rank whose first pair is in row `before`, detached.
fn rows_of(global: &Tensor, before: i64, run: &Range<i64>) -> Tensor {
    global.narrow(0, before + run.start, run.end - run.start).detach()
}

/// Number of pieces to cut the encoder's blocks into, so that each has at least `least` of the gradient's
/// `bytes`. 0 if this would be a single piece.
pub fn encoder_segments(bytes: usize, least: Option<usize>) -> usize {
    let pieces = least.map_or(0, |least| bytes / least.max(1)).min(SEGMENTS);
    if pieces < 2 { 0 } else { pieces }
}

/// The gradients of a piece of the encoder's graph, between two cuts.
struct Piece<'a> {
    span: Span,
    gradients: &'a [Tensor],
    /// The segment that is complete with this piece.
    segment: Option<Span>,
}

/// Runs the backward pass of `outputs` piece by piece, from the last to the first. `done` is called with the
/// gradients of each piece as soon as they are computed.
fn backpropagate(
    mut outputs: Vec<Output>,
    mut cuts: Vec<GraphCut>,
    encoder: &Vit,
    arena: &mut Arena,
    done: &mut dyn FnMut(&mut Arena, Piece<'_>),
) {
    let (mut end, mut segment_end) = (None, None);
    loop {
        let cut = cuts.pop();
        let first = cut.as_ref().map_or(Mark::default(), |cut| cut.mark);
        let span = Span::per_sample(first, end);
        let mut inputs = arena.leaves(span.clone());
        inputs.extend(cut.as_ref().map(|cut| cut.above.shallow_clone()));
        let mut gradients = vector_jacobian(&outputs, &inputs, Graph::Freed);
        let of_cut = cut.as_ref().map(|_| gradients.pop().expect("the last input is the cut"));
        let ends_segment = cut.as_ref().is_none_or(|cut| cut.ends_segment);
        let segment = ends_segment.then(|| Span::per_sample(first, segment_end));
        no_grad(|| done(arena, Piece { span, gradients: &gradients, segment }));
        let Some((cut, gradient)) = cut.zip(of_cut) else { return };
        outputs = vec![Output { value: encoder.output_below(arena, cut.below), gradient }];
        end = Some(first);
        if ends_segment {
            segment_end = end;
        }
    }
}

/// The encoded views of a run of pairs.
pub(crate) struct Views {
    view1: Encoded,
    view2: Encoded,
    /// View 1 of other pairs, for methods that take it.
    other_view1: Option<Encoded>,
    pub(crate) cuts: Vec<GraphCut>,
    master: Kind,
}

impl Views {
    /// (n, 2 out): y of view 1, then y of view 2, in the master weights' kind.
    pub(crate) fn y(&self) -> Tensor {
        Tensor::cat(&[&self.view1.y, &self.view2.y], 1).to_kind(self.master)
    }

    /// What the pair term is computed from: `mixed` rows, or the views.
    pub(crate) fn pair_input<'a>(&'a self, mixed: Option<&'a Tensor>) -> PairInput<'a> {
        let source = self.other_view1.as_ref().unwrap_or(&self.view1);
        mixed.map_or(PairInput::Views { source, query: &self.view2 }, PairInput::Mixed)
    }
}

/// Encodes the views of the pairs `run` in one forward pass.
pub(crate) fn encode(
    arena: &Arena,
    model: &Model,
    batch: &Batch,
    run: &Range<i64>,
    cutting: Cutting,
) -> Views {
    let length = run.end - run.start;
    let mut images = vec![&batch.view1, &batch.view2];
    let takes_other = method(model).takes_other_view1();
    if takes_other {
        images.push(batch.other_view1.as_ref().expect("a batch for this method has view 1 of other pairs"));
    }
    let images: Vec<Tensor> = images.iter().map(|images| images.narrow(0, run.start, length)).collect();
    let images = Tensor::cat(&images, 0).to_kind(arena.compute().kind()); // (2n or 3n, ..)
    let (encoded, cuts) = model.encoder.forward_in_pieces(arena, &images, cutting);
    let view = |which: i64| encoded.narrow(which * length, length);
    let other_view1 = takes_other.then(|| view(2));
    Views { view1: view(0), view2: view(1), other_view1, cuts, master: arena.compute().master_kind() }
}

/// The loss, which is the sum of its terms.
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
