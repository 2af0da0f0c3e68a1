//! The layers of an encoder, and what is read from each of them.

use std::fmt;

use anyhow::Result;
use eqr_models::{LayerTokens, Place};
use tch::{Kind, Tensor};

use crate::encoder::readout::quadrants;
use crate::encoder::representation::Representation;

/// Which tokens of a layer are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// The class token.
    Class,
    /// The mean of the patch tokens, or of a stage's map.
    Mean,
    /// The means of the four quadrants of the map.
    Grid,
    /// What other commands read from the encoder; for our encoders, y.
    Features,
}

/// What is read from one place of an encoder.
pub struct Layer {
    /// Where.
    pub place: Place,
    /// (B, columns) for each kind of token that is there, float32.
    pub readouts: Vec<(TokenKind, Tensor)>,
}

/// An encoder whose layers can be seen.
pub trait LayeredEncoder {
    /// All layers of normalised images (B, 3, S, S), from the embedding to the output, in one pass.
    ///
    /// # Errors
    /// A module that fails.
    fn layers(&self, images: &Tensor) -> Result<Vec<Layer>>;
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TokenKind::Class => "class",
            TokenKind::Mean => "mean",
            TokenKind::Grid => "grid",
            TokenKind::Features => "features",
        })
    }
}

impl Layer {
    /// Class token, mean and quadrant means of a layer, as far as they are there.
    pub(super) fn of_tokens(tokens: &LayerTokens) -> Layer {
        let LayerTokens { place, class, map } = tokens;
        let mean = map.mean_dim([2i64, 3].as_slice(), false, None);
        let readouts = [
            (TokenKind::Class, class.as_ref().map(Tensor::shallow_clone)),
            (TokenKind::Mean, Some(mean)),
            (TokenKind::Grid, quadrants(map, Tensor::shallow_clone)),
        ];
        let there = readouts.into_iter().filter_map(|(kind, x)| Some((kind, x?.to_kind(Kind::Float))));
        // a class token that is a view would keep all tokens of the layer in memory
        Layer { place: *place, readouts: there.map(|(kind, x)| (kind, x.copy())).collect() }
    }

    /// The output: the features, and the quadrant means of a map, if it has them.
    pub(super) fn of_output(output: &Representation) -> Layer {
        let width = output.y.size()[1];
        let quadrants = output.grid.as_ref().map(|grid| grid.narrow(1, width, grid.size()[1] - width));
        let features = (TokenKind::Features, output.y.shallow_clone());
        let grid = quadrants.map(|quadrants| (TokenKind::Grid, quadrants));
        Layer { place: Place::Output, readouts: grid.into_iter().chain([features]).collect() }
    }

    /// Joins batches, which have the same layers.
    ///
    /// # Panics
    /// Without any batch.
    pub fn concatenated(batches: &[Vec<Layer>]) -> Vec<Layer> {
        let joined = |layer: usize, readout: usize| {
            let each: Vec<&Tensor> = batches.iter().map(|batch| &batch[layer].readouts[readout].1).collect();
            Tensor::cat(&each, 0)
        };
        let first = batches.first().expect("at least one batch");
        let layer = |(index, layer): (usize, &Layer)| {
            let kinds = layer.readouts.iter().map(|(kind, _)| *kind).enumerate();
            let readouts = kinds.map(|(readout, kind)| (kind, joined(index, readout))).collect();
            Layer { place: layer.place, readouts }
        };
        first.iter().enumerate().map(layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_read_in_three_ways() {
        let class = Tensor::from_slice(&[9f32]).view([1, 1]);
        let map = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([1, 1, 2, 2]);
        let layer = Layer::of_tokens(&LayerTokens { place: Place::Block(2), class: Some(class), map });
        let numbers = |x: &Tensor| Vec::<f32>::try_from(x.view([-1])).unwrap();
        let read: Vec<(TokenKind, Vec<f32>)> =
            layer.readouts.iter().map(|(kind, x)| (*kind, numbers(x))).collect();
        assert_eq!(
            read,
            [
                (TokenKind::Class, vec![9.0]),
                (TokenKind::Mean, vec![2.5]),
                (TokenKind::Grid, vec![1.0, 2.0, 3.0, 4.0])
            ]
        );
        let twice = Layer::concatenated(&[
            vec![layer],
            vec![Layer { place: Place::Block(2), readouts: read_again(&read) }],
        ]);
        assert_eq!(twice[0].readouts[1].1.size(), [2, 1]);
    }

    fn read_again(read: &[(TokenKind, Vec<f32>)]) -> Vec<(TokenKind, Tensor)> {
        read.iter().map(|(kind, x)| (*kind, Tensor::from_slice(x).view([1, -1]))).collect()
    }

    #[test]
    fn the_output_is_what_other_commands_read() {
        let y = Tensor::from_slice(&[1f32, 2.0]).view([1, 2]);
        let grid = Tensor::from_slice(&[1f32, 2.0, 5.0, 6.0, 7.0, 8.0]).view([1, 6]);
        let layer = Layer::of_output(&Representation { y, grid: Some(grid) });
        let widths: Vec<(TokenKind, i64)> =
            layer.readouts.iter().map(|(kind, x)| (*kind, x.size()[1])).collect();
        assert_eq!(widths, [(TokenKind::Grid, 4), (TokenKind::Features, 2)]);
    }
}
