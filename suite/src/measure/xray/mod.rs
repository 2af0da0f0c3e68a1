//! The equivariance X-ray: what every layer of a frozen encoder holds of every transformation, and where.
//!
//! [`reading`] is one value with its place; [`Xray`] all of them. All layers of an image are read in the pass
//! that encodes it ([`views`]). `photographs` and `renders` make the pairs that `probe` makes, too. The
//! measures are `held` (R2 of a closed form), `sensitivity`, and `classes` (nearest neighbours, effective
//! rank).

mod classes;
mod held;
mod photographs;
#[cfg(test)]
mod planted;
pub mod reading;
mod renders;
mod sensitivity;
mod views;

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_models::Place;
use eqr_probes::bootstrap::Objects;
use tch::Tensor;

use crate::encoder::layer::{Layer, LayeredEncoder, TokenKind};
use crate::measure::evaluation::Evaluation;
use reading::Reading;

/// All readings of an encoder.
pub struct Xray {
    /// Numbers of training and test pairs of each transformation.
    pub pairs: [usize; 2],
    /// Number of test objects or photographs, which intervals are over.
    pub objects: usize,
    /// Measure by measure, each from the first layer to the last.
    pub readings: Vec<Reading>,
}

/// Takes an X-ray of `encoder`.
///
/// # Errors
/// Images that cannot be read, an encoder that fails, features that are not finite.
pub fn measure(encoder: &dyn LayeredEncoder, evaluation: &Evaluation) -> Result<Xray> {
    let mut xray = tch::no_grad(|| match evaluation.pack.kind {
        SetKind::Renders => renders::measure(encoder, evaluation),
        SetKind::Photographs => photographs::measure(encoder, evaluation),
    })?;
    xray.readings.sort_by_key(|reading| reading.measure);
    Ok(xray)
}

/// Number of images that an X-ray encodes, at most.
pub fn images(evaluation: &Evaluation) -> usize {
    match evaluation.pack.kind {
        SetKind::Renders => evaluation.views(false),
        SetKind::Photographs => photographs::images(evaluation),
    }
}

/// Images seen by every layer, or some of them.
struct View<'a> {
    layers: &'a [Layer],
    /// Which rows, int64 and possibly repeated; `None` for all of them.
    rows: Option<&'a Tensor>,
}

/// The pairs of a split, seen by every layer.
struct LayerPairs<'a> {
    first: View<'a>,
    second: View<'a>,
    /// (N, k): the parameters of the transformations from the first view to the second.
    parameters: &'a Tensor,
    /// The object or photograph of each pair.
    objects: &'a Objects,
}

/// What is read at one place of an encoder.
#[derive(Clone, Copy)]
struct Spot {
    layer: usize,
    readout: usize,
    place: Place,
    tokens: TokenKind,
}

/// Every readout of every layer.
fn spots(layers: &[Layer]) -> Vec<Spot> {
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
    fn at(&self, spot: Spot) -> Tensor {
        let all = spot.of(self.layers);
        self.rows.map_or_else(|| all.shallow_clone(), |rows| all.index_select(0, rows))
    }
}

impl Spot {
    /// (N, columns): what is read there.
    fn of(self, layers: &[Layer]) -> &Tensor {
        &layers[self.layer].readouts[self.readout].1
    }

    /// Name in messages.
    fn name(self) -> String {
        format!("{}, {}", self.place, self.tokens)
    }
}
