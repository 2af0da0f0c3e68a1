//! The tokens between the layers of an encoder.

use std::fmt;

use tch::Tensor;

/// Where in an encoder tokens are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// After the embedding: the first block's input.
    Embedding,
    /// After the block with this number, from 1.
    Block(usize),
    /// After the stage with this number, from 1.
    Stage(usize),
    /// After the last normalisation: what features are read from.
    Output,
}

/// What B images have become at one place of an encoder.
pub struct LayerTokens {
    /// Where.
    pub place: Place,
    /// (B, D): the class token, if there is one.
    pub class: Option<Tensor>,
    /// (B, D, h, w): the map of the patch tokens or of a stage.
    pub map: Tensor,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Embedding => f.write_str("embedding"),
            Place::Block(number) => write!(f, "block {number}"),
            Place::Stage(number) => write!(f, "stage {number}"),
            Place::Output => f.write_str("output"),
        }
    }
}

/// The maps after each stage as the places of a network in stages. Its features are read from the last map.
pub(crate) fn of_stages(maps: Vec<Tensor>) -> Vec<LayerTokens> {
    let output = maps.last().map(|map| (Place::Output, map.shallow_clone()));
    let stages = maps.into_iter().enumerate().map(|(index, map)| (Place::Stage(index + 1), map));
    let places = stages.chain(output);
    places.map(|(place, map)| LayerTokens { place, class: None, map }).collect()
}
