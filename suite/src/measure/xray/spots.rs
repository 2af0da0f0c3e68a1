//! The places of an encoder where an X-ray reads, and the pairs that are read there.

use eqr_models::Place;
use eqr_probes::bootstrap::Objects;
use eqr_probes::redraw::PairDraw;
use tch::Tensor;

use crate::encoder::layer::{Layer, TokenKind};

/// Images seen by every layer, or some of them.
pub(super) struct View<'a> {
    pub(super) layers: &'a [Layer],
    /// Which rows, int64 and possibly repeated; `None` for all of them.
    pub(super) rows: Option<&'a Tensor>,
}

/// The pairs of a split, seen by every layer.
pub(super) struct LayerPairs<'a> {
    pub(super) first: View<'a>,
    pub(super) second: View<'a>,
    /// (N, k): the parameters of the transformations from the first view to the second.
    pub(super) parameters: &'a Tensor,
    /// The object or photograph of each pair.
    pub(super) objects: &'a Objects,
    /// Draws the pairs of later epochs, as rows of the first view's layers; `None` if all epochs have these.
    pub(super) redrawn: Option<&'a PairDraw>,
}

/// What is read at one place of an encoder.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    layer: usize,
    readout: usize,
    pub(super) place: Place,
    pub(super) tokens: TokenKind,
}

/// Every readout of every layer.
pub(super) fn spots(layers: &[Layer]) -> Vec<Spot> {
    let of_layer = |(layer, Layer { place, readouts }): (usize, &Layer)| {
        let spot = |(readout, (tokens, _)): (usize, &(TokenKind, Tensor))| Spot {
            layer,
            readout,
            place: *place,
            tokens: *tokens,
        };
        readouts.iter().enumerate().map(spot).collect::<Vec<_>>()
    };
    layers.iter().enumerate().flat_map(of_layer).collect()
}

impl View<'_> {
    /// (N, columns): what is read at a spot.
    pub(super) fn at(&self, spot: Spot) -> Tensor {
        let all = spot.of(self.layers);
        self.rows.map_or_else(|| all.shallow_clone(), |rows| all.index_select(0, rows))
    }
}

impl Spot {
    /// (N, columns): what is read there.
    pub(super) fn of(self, layers: &[Layer]) -> &Tensor {
        &layers[self.layer].readouts[self.readout].1
    }

    /// Name in messages.
    pub(super) fn name(self) -> String {
        format!("{}, {}", self.place, self.tokens)
    }
}
