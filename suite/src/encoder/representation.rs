//! What probes read of an encoder.

use anyhow::Result;
use eqr_models::vit::Encoded;
use tch::{Kind, Tensor};

/// What an encoder says of a batch, float32.
pub struct Representation {
    /// (B, D): the representation, y of our encoders.
    pub y: Tensor,
    /// (B, D + 4 D'): y and the quadrant means of the token map, where there is one of 2 x 2 at least.
    pub grid: Option<Tensor>,
}

/// Anything whose representation can be measured.
pub trait FeatureEncoder {
    /// Normalised images (B, 3, S, S) of float32 -> what is read.
    ///
    /// # Errors
    /// A TorchScript module's.
    fn represent(&self, images: &Tensor) -> Result<Representation>;
}

impl Representation {
    /// Of our encoder.
    pub fn of(encoded: &Encoded) -> Representation {
        let float = Encoded { y: encoded.y.to_kind(Kind::Float), tokens: encoded.tokens.to_kind(Kind::Float) };
        let grid = Some(float.grid_readout());
        Representation { y: float.y, grid }
    }

    /// Batches one after the other.
    pub fn concatenated(parts: &[Representation]) -> Representation {
        let grids: Option<Vec<&Tensor>> = parts.iter().map(|part| part.grid.as_ref()).collect();
        let y: Vec<&Tensor> = parts.iter().map(|part| &part.y).collect();
        Representation { y: Tensor::cat(&y, 0), grid: grids.map(|grids| Tensor::cat(&grids, 0)) }
    }

    /// Rows `indices`, int64.
    pub fn select(&self, indices: &Tensor) -> Representation {
        let rows = |t: &Tensor| t.index_select(0, indices);
        Representation { y: rows(&self.y), grid: self.grid.as_ref().map(rows) }
    }
}

impl FeatureEncoder for crate::encoder::network::Network {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let images = images.to_kind(self.arena.compute().kind());
        Ok(Representation::of(&tch::no_grad(|| self.model.encoder.forward(&self.arena, &images))))
    }
}
