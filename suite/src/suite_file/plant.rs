//! What a planted encoder carries, and the R2 that a probe can attain with it.
//!
//! The target of a pair is t = τ(x, x'), a function of the latents x and x' of its two views. A planted
//! encoder carries x in the features of an image, but it takes a share 1 - r of the objects for others: all
//! views of such an object carry the latents of the same views of its stand-in. So the features of a pair
//! tell g = τ of the stand-in, which is t with probability r, and else independent of t with the same
//! distribution, since the latents of all objects are drawn alike. The best prediction of t is its mean given
//! the features, r g + (1 - r) E t, and it explains the variance r² Var t:
//!
//! R2* = r², for every output, and so for both definitions of R2.
//!
//! This holds for every τ and every distribution of the latents. (With Gaussian noise on x the closed form
//! 1 / (1 + s²) would hold for linear readers alone: hues are uniform, and other readers attain more.)
//!
//! With [`Code::Plain`], a linear probe attains r² if g is linear in the features. The target of `color` is a
//! difference of hues: it is. The target of `rotation` is a product of quaternions: it is not, and what a
//! linear probe attains has no simple form.
//!
//! [`Code::Signed`] hides the hues h from every linear probe: the features are e h and e with a fair coin e =
//! ±1 of each image. Since e has mean 0 and is independent of all latents, both are uncorrelated with t: the
//! best linear prediction is the mean, R2* = 0. Other probes multiply the two and have h again: R2* = r².

use std::fmt;
use std::ops::Range;

use eqr_datasets::transforms::Transform;

use crate::registry::Predictor;
use crate::suite_file::names::slug;

/// Number of columns that the features of an image need at most.
pub const CARRIED: usize = 6;

/// R2 that is planted: nothing, all, and shares between.
const PLANTED: [f64; 9] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0];

/// Number of encoders without the parameters. The probability that one more of them reads more than all of
/// these is 1 / 20.
const ABSENT: u64 = 19;

/// How features carry the latents of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// As they are: the quaternion of the pose, and both hues.
    Plain,
    /// Both hues times a random sign, and the sign.
    Signed,
}

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plant {
    /// How features carry it.
    pub code: Code,
    /// The R2 that the best predictor attains, r². 0: the parameters are absent.
    pub r2: f64,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Plain => "plain",
            Code::Signed => "signed",
        })
    }
}

impl fmt::Display for Plant {
    /// The name of its row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Planted ({}, {})", self.code, self.r2)
    }
}

impl Plant {
    /// The name of its row as part of a file's name.
    pub fn slug(self) -> String {
        slug(&self.to_string())
    }

    /// All plants: code by code, each from nothing to all.
    pub fn all() -> Vec<Plant> {
        let of_code = |code| PLANTED.map(|r2| Plant { code, r2 });
        [Code::Plain, Code::Signed].into_iter().flat_map(of_code).collect()
    }

    /// Seeds of the draws of what is confused and of the noise; each makes another encoder.
    pub fn seeds(self) -> Range<u64> {
        0..if self.is_absent() { ABSENT } else { 1 }
    }

    /// Whether the features say nothing of the parameters.
    pub fn is_absent(self) -> bool {
        self.r2 == 0.0
    }

    /// r: the share of objects that the encoder does not take for others.
    pub fn share(self) -> f64 {
        self.r2.sqrt()
    }

    /// Whether the parameters of a task are among what is carried.
    pub fn carries(self, task: &str) -> bool {
        self.code == Code::Plain || task == Transform::Color.name()
    }

    /// R2*, which a probe attains at best; `None` where it has no simple form.
    pub fn attainable(self, task: &str, predictor: Predictor) -> Option<f64> {
        match (predictor, self.code) {
            (Predictor::Linear, Code::Signed) => Some(0.0),
            (Predictor::Linear, Code::Plain) if task != Transform::Color.name() && !self.is_absent() => None,
            _ => Some(self.r2),
        }
    }
}
