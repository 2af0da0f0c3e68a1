//! The stages of a training step, for stopwatches.

/// What a rank does in a training step besides talking to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStage {
    /// Takes the next batch: transforms, and images that are read.
    Batch,
    /// Runs the encoder, or its backward pass with the terms of single pairs.
    Encoder,
    /// Computes the losses on the global batch and their gradient.
    Losses,
    /// Updates the parameters and reads the losses.
    Update,
    /// Is done with the steps of an epoch: a checkpoint, the log.
    Between,
}
