//! The representation of an image, which the probes read from an encoder.

use anyhow::Result;
use eqr_models::vit::Encoded;
use tch::{Kind, Tensor};

use crate::encoder::network::Network;

/// The representations of a batch, float32.
pub struct Representation {
    /// (B, D): the representation; for our encoders, y.
    pub y: Tensor,
    /// (B, D + 4 D'): y and the quadrant means of the token map, if the map is at least 2 x 2.
    pub grid: Option<Tensor>,
}

/// An encoder whose representations can be measured.
pub trait FeatureEncoder {
    /// The representations of normalised images (B, 3, S, S), float32.
    ///
    /// # Errors
    /// A module that fails.
    fn represent(&self, images: &Tensor) -> Result<Representation>;
}

impl Representation {
    /// The representation of one of our encoders, which have a map to y.
    pub fn from_encoded(encoded: &Encoded) -> Representation {
        let float =
            Encoded { y: encoded.y.to_kind(Kind::Float), tokens: encoded.tokens.to_kind(Kind::Float) };
        let grid = Some(float.grid_readout());
        Representation { y: float.y, grid }
    }

    /// Concatenates batches.
    pub fn concatenated(batches: &[Representation]) -> Representation {
        let grids: Option<Vec<&Tensor>> = batches.iter().map(|batch| batch.grid.as_ref()).collect();
        let y: Vec<&Tensor> = batches.iter().map(|batch| &batch.y).collect();
        Representation { y: Tensor::cat(&y, 0), grid: grids.map(|grids| Tensor::cat(&grids, 0)) }
    }

    /// The same tensors, not copied.
    pub fn shallow_clone(&self) -> Representation {
        Representation { y: self.y.shallow_clone(), grid: self.grid.as_ref().map(Tensor::shallow_clone) }
    }

    /// Rows `indices`, int64.
    pub fn select(&self, indices: &Tensor) -> Representation {
        let rows = |t: &Tensor| t.index_select(0, indices);
        Representation { y: rows(&self.y), grid: self.grid.as_ref().map(rows) }
    }
}

impl FeatureEncoder for Network {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let images = images.to_kind(self.arena.compute().kind());
        Ok(Representation::from_encoded(&tch::no_grad(|| self.model.encoder.forward(&self.arena, &images))))
    }
}
