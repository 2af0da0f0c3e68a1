//! Norms of the encoder's gradient, one for each term of a loss: how much each term moves the encoder.

use tch::{Kind, Tensor, no_grad};

use crate::activations::Activations;
use crate::arena::Arena;
use crate::collective::Collective;
use crate::methods::Model;
use crate::registry::{Mark, Span};
use crate::step::{Batch, GlobalLosses, encode, pair_share};
use crate::vit::{Cutting, GraphCut, Vit};
use eqr_device::vector_jacobian::{Graph, Output, vector_jacobian};

/// Euclidean norm of the gradient of every term with respect to the encoder's parameters, on the global
/// batch, in the order of the terms. The norms are equal on every rank. The arena's gradient is not changed.
///
/// # Panics
/// Panics if the model has no method.
pub fn encoder_gradient_norms(
    arena: &Arena,
    model: &Model,
    batch: &Batch,
    activations: Activations,
    cluster: &dyn Collective,
) -> Vec<(&'static str, f64)> {
    let runs = activations.runs(batch.rows[cluster.rank()]);
    let cutting = Cutting { segments: 0, recompute: activations.recompute };
    let before = batch.first_row(cluster);
    let y = runs.iter().map(|run| no_grad(|| encode(arena, model, batch, run, Cutting::default()).y()));
    let y_local = Tensor::cat(&y.collect::<Vec<_>>(), 0);
    let global = GlobalLosses::new(arena, model, batch, &y_local, &runs, cluster);

    // dL/dy of every term that reaches the encoder through y
    let through_y =
        |objective: &Tensor| Tensor::run_backward(&[objective], &[&global.y], true, false).remove(0);
    let mut names: Vec<&'static str> = global.terms.iter().map(|(name, _)| *name).collect();
    let dys: Vec<Tensor> = global.terms.iter().map(|(_, term)| through_y(term)).collect();
    let mixed_dy = global.mixed_objective().map(|objective| through_y(&objective));
    let mut sums: Vec<Tensor> = Vec::new();
    for run in &runs {
        let views = encode(arena, model, batch, run, cutting);
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
        let gradients = flat_gradients(outputs, views.cuts, &model.encoder, arena);
        for (term, gradient) in gradients.into_iter().enumerate() {
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

/// The gradient of each of `outputs` with respect to the encoder's parameters, one after the other: (P) each.
fn flat_gradients(
    mut outputs: Vec<Output>,
    mut cuts: Vec<GraphCut>,
    encoder: &Vit,
    arena: &Arena,
) -> Vec<Tensor> {
    // of each output: the gradients of the pieces of the graph, the last piece first
    let mut pieces: Vec<Vec<Vec<Tensor>>> = outputs.iter().map(|_| Vec::new()).collect();
    let mut end = encoder.end();
    loop {
        let cut = cuts.pop();
        let first = cut.as_ref().map_or(Mark::default(), |cut| cut.mark);
        let mut inputs = arena.leaves(Span::per_sample(first, Some(end)));
        inputs.extend(cut.as_ref().map(|cut| cut.above.shallow_clone()));
        let mut of_cut = Vec::new();
        for (output, pieces) in outputs.iter().zip(&mut pieces) {
            let mut gradients = vector_jacobian(std::slice::from_ref(output), &inputs, Graph::Kept);
            of_cut.extend(cut.as_ref().map(|_| gradients.pop().expect("the last input is the cut")));
            pieces.push(gradients);
        }
        let Some(cut) = cut else { break };
        let value = encoder.output_below(arena, cut.below);
        let with = |gradient| Output { value: value.shallow_clone(), gradient };
        outputs = of_cut.into_iter().map(with).collect();
        end = first;
    }
    let kind = arena.compute().master_kind();
    let flat = |pieces: Vec<Vec<Tensor>>| {
        let gradients = pieces.iter().rev().flatten();
        Tensor::cat(&gradients.map(|g| g.reshape([-1]).to_kind(kind)).collect::<Vec<_>>(), 0)
    };
    pieces.into_iter().map(flat).collect()
}
