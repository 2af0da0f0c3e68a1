//! How the gradients of a training's steps are computed: operation by operation, or as a CUDA graph.

use eqr_device::error::DeviceError;
use eqr_device::graph::DeviceGraph;
use tch::{Device, Tensor, no_grad};

use crate::activations::Activations;
use crate::arena::Arena;
use crate::collective::{Collective, Solo};
use crate::methods::Model;
use crate::step::{Batch, LossTerms, gradients};

/// The gradients of the steps of one training, whose batches have one shape.
#[derive(Debug)]
pub struct StepGradient {
    /// What a rank keeps of its pairs.
    pub activations: Activations,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    /// Every operation is queued in every step.
    Queued,
    /// The operations are recorded in the first step, and launched at once.
    Recorded(Option<RecordedStep>),
}

impl StepGradient {
    /// The steps of a training. `cuda_graph` records them, on one GPU; the graph keeps the memory of a step.
    /// Otherwise their operations are queued one by one.
    pub fn new(activations: Activations, cuda_graph: bool) -> Self {
        let steps = if cuda_graph { Steps::Recorded(None) } else { Steps::Queued };
        StepGradient { activations, steps }
    }

    /// Fills the arena with the gradient of the global batch and returns the loss terms, as
    /// [`gradients`].
    ///
    /// # Errors
    /// An error of CUDA while a step is recorded or launched.
    ///
    /// # Panics
    /// Panics if the model has no method, or if a step is to be recorded for several ranks or on a CPU.
    pub fn fill(
        &mut self,
        arena: &mut Arena,
        model: &Model,
        batch: &Batch,
        cluster: &dyn Collective,
    ) -> Result<LossTerms, DeviceError> {
        let Steps::Recorded(recorded) = &mut self.steps else {
            return Ok(gradients(arena, model, batch, self.activations, cluster));
        };
        assert_eq!(cluster.size(), 1, "a step of one rank is recorded");
        let step = match recorded {
            Some(step) => step,
            None => recorded.insert(RecordedStep::new(arena, model, batch, self.activations)?),
        };
        step.launch(batch)
    }
}

/// [`gradients`] of one rank as a graph.
#[derive(Debug)]
struct RecordedStep {
    graph: DeviceGraph,
    /// What the graph reads.
    batch: Batch,
    /// What it writes beside the arena's gradient.
    terms: LossTerms,
}

impl RecordedStep {
    /// Records the step of batches that are shaped like `batch`.
    fn new(
        arena: &mut Arena,
        model: &Model,
        batch: &Batch,
        activations: Activations,
    ) -> Result<Self, DeviceError> {
        let Device::Cuda(gpu) = batch.view1.device() else { panic!("only a GPU records a step") };
        let batch = batch.copy();
        let step = || gradients(arena, model, &batch, activations, &Solo);
        let (graph, terms) = DeviceGraph::record(gpu, step)?;
        Ok(RecordedStep { graph, batch, terms })
    }

    fn launch(&self, batch: &Batch) -> Result<LossTerms, DeviceError> {
        no_grad(|| {
            for (own, new) in self.batch.tensors().zip(batch.tensors()) {
                own.shallow_clone().copy_(new);
            }
            self.graph.launch()?;
            // the next launch overwrites the terms, perhaps before they are read
            let (names, terms): (Vec<_>, Vec<_>) =
                self.terms.iter().map(|(name, term)| (*name, term)).unzip();
            Ok(names.into_iter().zip(Tensor::stack(&terms, 0).unbind(0)).collect())
        })
    }
}
