//! The interface of a pretraining method.

use tch::Tensor;

use crate::arena::Arena;
use crate::vit::Encoded;

/// What the losses get of a batch beside its images.
pub struct Targets {
    /// (N), i64.
    pub labels: Tensor,
    /// (N, sum of lengths) in the order of [`super::ModelConfig::transforms`].
    pub parameters: Tensor,
}

/// A named, weighted term of a loss; a method's loss is the sum of its terms.
pub type Term = (&'static str, Tensor);

/// A pretraining method. Its loss is cut at y (design decision "The batch is cut at y").
pub trait Method {
    /// Terms on the representations of the whole batch: y1, y2 are (N, out), N the global batch.
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term>;

    /// Term that is a mean over pairs, on some of the pairs: view 2 is (n, 3, H, W), normalised.
    fn pair_term(&self, _p: &Arena, _view1: &Encoded, _view2: &Encoded, _images2: &Tensor) -> Option<Term> {
        None
    }

    /// Pixels of view 2 from the two views' tokens, for methods that reconstruct.
    fn reconstruct(&self, _p: &Arena, _pair: ReconstructionPair<'_>) -> Option<Tensor> {
        None
    }

    /// The map from the embedding of one view to that of another, for methods that learn it.
    fn predictor(&self) -> Option<&dyn Predictor> {
        None
    }

    /// Multiplications and additions of the heads' and the decoder's matrix products in one forward pass of
    /// one pair.
    fn forward_flops(&self) -> f64;
}

/// The equivariant embedding of a view, and its prediction from another view of the same image or object.
pub trait Predictor {
    /// z of all of y at once: (N, out) -> (N, D), fp32. The head has no running statistics, so z of a view
    /// depends on the rest of the batch: where values are compared, y has to be a whole split in one batch.
    fn embed(&self, p: &Arena, y: &Tensor) -> Tensor;

    /// The embeddings (N, D) of second views from those of the first, z (N, D), and the
    /// [`Targets::parameters`] of the transformations between them.
    fn predict(&self, p: &Arena, z: &Tensor, parameters: &Tensor) -> Tensor;
}

/// Whose tokens the decoder reads, (n, T, out/2) each.
#[derive(Clone, Copy)]
pub struct ReconstructionPair<'a> {
    /// Tokens that give keys and values: view 1.
    pub source: &'a Tensor,
    /// Tokens that give the query: view 2.
    pub query: &'a Tensor,
}
