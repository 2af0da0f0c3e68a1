//! What runs modules of other libraries.

use anyhow::Result;
use tch::{Kind, Tensor};

/// Runs one module.
pub trait ModuleEngine {
    /// What the module is, for people.
    fn name(&self) -> &'static str;

    /// What it says of the images that it takes, or what most modules take.
    fn declared(&self) -> ModuleInput;

    /// Side of the images in pixels, if it takes no other.
    fn side(&self) -> Option<usize> {
        None
    }

    /// Types of images to try after it has failed on float32 `images`, with any number of them.
    fn kinds(&self, images: &Tensor) -> Vec<Kind>;

    /// What it returns for images (B, 3, S, S).
    ///
    /// # Errors
    /// A module that fails, with the reason as far as it is known.
    fn run(&self, images: &Tensor) -> Result<Answer>;
}

/// The images that a module takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleInput {
    /// Their type.
    pub kind: Kind,
    /// Their number, if it is fixed.
    pub batch: Option<i64>,
}

/// What a module has returned.
pub enum Answer {
    /// A tensor.
    Tensor(Tensor),
    /// A tuple or a list.
    Tuple(Vec<Answer>),
    /// A dictionary, or outputs with names.
    Named(Vec<(String, Answer)>),
    /// Something that holds no features.
    Other(&'static str),
}

impl Answer {
    /// What it is, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Answer::Tensor(_) => "tensors",
            Answer::Tuple(_) => "a tuple within a tuple",
            Answer::Named(_) => "a dictionary",
            Answer::Other(name) => name,
        }
    }
}
