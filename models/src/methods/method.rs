//! The interface of a pretraining method.

use tch::Tensor;

use crate::arena::Arena;
use crate::vit::Encoded;

/// Inputs of the losses other than images.
pub struct Targets {
    /// (N), i64.
    pub labels: Tensor,
    /// (N, sum of the transforms' parameter lengths), in the order of [`super::ModelConfig::transforms`].
    pub parameters: Tensor,
}

/// A named, weighted term of a loss. The loss of a method is the sum of its terms.
pub type Term = (&'static str, Tensor);

/// A pretraining method. The graph of its loss is cut at y (design decision "The batch is cut at y").
pub trait Method {
    /// Terms on the representations of the whole batch. y1 and y2 are (N, out), where N is the global batch
    /// size.
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term>;

    /// A term that is a mean over pairs, computed on n of the pairs. `images2` (n, 3, H, W) is view 2,
    /// normalised.
    fn pair_term(&self, _p: &Arena, _view1: &Encoded, _view2: &Encoded, _images2: &Tensor) -> Option<Term> {
        None
    }

    /// Pixels of view 2 reconstructed from the tokens of both views, or `None` if the method does not
    /// reconstruct.
    fn reconstruct(&self, _p: &Arena, _pair: ReconstructionPair<'_>) -> Option<Tensor> {
        None
    }

    /// The map from the embedding of one view to that of another, or `None` if the method does not learn one.
    fn predictor(&self) -> Option<&dyn Predictor> {
        None
    }

    /// Floating-point operations (multiplications and additions) in the matrix products of the heads and the
    /// decoder, for one forward pass on one pair.
    fn forward_flops(&self) -> f64;
}

/// The equivariant embedding of a view, and its prediction from another view of the same image or object.
pub trait Predictor {
    /// The embeddings z of all rows of y: (N, out) -> (N, D), fp32. The head has no running statistics, so
    /// the embedding of a view depends on the rest of the batch. To make values comparable, pass a whole
    /// split as one batch.
    fn embed(&self, p: &Arena, y: &Tensor) -> Tensor;

    /// Predicts the embeddings (N, D) of the second views from those of the first views, z (N, D), and the
    /// [`Targets::parameters`] of the transformations between them.
    fn predict(&self, p: &Arena, z: &Tensor, parameters: &Tensor) -> Tensor;
}

/// The inputs of the decoder, (n, T, out/2) each.
#[derive(Clone, Copy)]
pub struct ReconstructionPair<'a> {
    /// Tokens of view 1, used for keys and values.
    pub source: &'a Tensor,
    /// Tokens of view 2, used for queries.
    pub query: &'a Tensor,
}
