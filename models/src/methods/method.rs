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

    /// Whether [`Method::pair_term`] takes view 1 of another pair as its source.
    fn takes_other_view1(&self) -> bool {
        false
    }

    /// Whether pairs are mixed with the other pairs of the batch ([`Method::mixed`]). The result then does
    /// not depend on which view 1 belongs to which view 2.
    fn mixes_batch(&self) -> bool {
        false
    }

    /// Vectors (N, d), one for each pair, that depend on the whole batch and from which
    /// [`Method::pair_term`] is computed; `None` if that term depends only on the pair. y1 and y2 are
    /// (N, out).
    fn mixed(&self, _p: &Arena, _y1: &Tensor, _y2: &Tensor) -> Option<Tensor> {
        None
    }

    /// A term that is a mean over pairs, computed on n of the pairs. `images2` (n, 3, H, W) is view 2,
    /// normalised. `pair` is [`PairInput::Mixed`] if the method has [`Method::mixed`] vectors.
    fn pair_term(&self, _p: &Arena, _pair: PairInput<'_>, _images2: &Tensor) -> Option<Term> {
        None
    }

    /// Pixels (n, 3, H, W) of view 2 reconstructed from the encoded view 1, `source`, and view 2, `query`, or
    /// `None` if the method does not reconstruct. If pairs are mixed with the other pairs of the batch, the n
    /// pairs are the batch.
    fn reconstruct(&self, _p: &Arena, _source: &Encoded, _query: &Encoded) -> Option<Tensor> {
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

/// What a term of n pairs is computed from.
#[derive(Clone, Copy)]
pub enum PairInput<'a> {
    /// The encoded views.
    Views {
        /// View 1 of the same pair, or of another one ([`super::MethodKind::takes_other_view1`]).
        source: &'a Encoded,
        /// View 2.
        query: &'a Encoded,
    },
    /// (n, d): rows of [`Method::mixed`].
    Mixed(&'a Tensor),
}
