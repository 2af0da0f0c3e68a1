//! Attentive transfer: classifiers that pool the tokens of a labelled pack's images.

use anyhow::Result;
use eqr_models::Collective;
use eqr_probes::attentive_transfer::{AttentiveConfig, AttentiveTransfer, RATES, attentive_transfer};
use eqr_probes::transfer::TransferData;
use tch::Device;

use crate::cluster::agreement::agree;
use crate::console::with_progress;
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::Outcome;
use crate::measure::duration;
use crate::measure::exit_code::failure;
use crate::measure::tokens::{Tokens, more_memory};
use crate::measure::transfer::{ImageEncoder, TransferImages};

/// How the classifiers are fitted.
pub struct AttentiveClassifiers<'a> {
    /// The images.
    pub images: &'a TransferImages,
    /// Training.
    pub config: AttentiveConfig,
    /// Memory for tokens, in GB. While they are encoded, up to as much again is taken beside it.
    pub memory: f64,
    /// Where the encoder computes, and the classifiers are trained.
    pub device: Device,
}

impl AttentiveClassifiers<'_> {
    /// Refuses an encoder without tokens, or with too many, before anything long.
    ///
    /// # Errors
    /// An encoder without tokens; tokens that take more memory than allowed.
    pub fn check(&self, encoder: &FrozenEncoder) -> Result<()> {
        let images = self.images.counts().iter().sum();
        Tokens::of(encoder)?
            .check_memory(images, self.memory, |needed| more_memory(needed, "a smaller --size"))
    }

    /// Encodes the tokens and fits the grid, whose progress is called `label`. Every rank calls it.
    ///
    /// # Errors
    /// As [`AttentiveClassifiers::check`]; images that cannot be read; training that diverges.
    pub fn fit(
        &self,
        encoder: &FrozenEncoder,
        label: &str,
        ranks: &dyn Collective,
    ) -> Outcome<AttentiveTransfer> {
        let (data, width) = agree(ranks, self.encode(encoder))?;
        with_progress(label, |tick| attentive_transfer(&data, width, &self.config, ranks, tick))
            .map_err(failure)
    }

    /// The tokens of every image one after the other, and the width of a token.
    fn encode(&self, encoder: &FrozenEncoder) -> Result<(TransferData, usize)> {
        let tokens = Tokens::of(encoder)?;
        let [train, val, _] = self.images.counts();
        duration::say_encoding(encoder, self.images.counts().iter().sum());
        let fits = [vec![train; RATES.len()], vec![train + val]].concat();
        duration::say_attentive_transfer(
            tokens.shape(),
            &fits,
            self.images.classes(),
            &self.config,
            self.device,
        );
        let seen = ImageEncoder {
            encoder: &tokens,
            side: encoder.side(),
            normalisation: encoder.normalisation,
            device: self.device,
        };
        Ok((self.images.encode(seen)?, usize::try_from(tokens.shape()[1])?))
    }
}

/// Says that the learning rate is an end of the grid, because the best one may lie beyond it, and that
/// trainings diverged.
pub fn rate_notes(found: &AttentiveTransfer) -> Vec<String> {
    let beyond = match found.lr {
        lr if lr == RATES[0] => Some(("smallest", "smaller")),
        lr if lr == RATES[RATES.len() - 1] => Some(("largest", "larger")),
        _ => None,
    };
    let of_end = beyond.map(|(end, beyond)| {
        format!(
            "note: attentive classifier: the {end} learning rate of the grid ({}) was chosen: a {beyond} one may \
             be better, or all are equal",
            found.lr
        )
    });
    let diverged = found.grid.iter().filter(|point| point.val_top1.is_none());
    let diverged =
        diverged.map(|point| format!("note: attentive classifier: training diverged at lr {}", point.lr));
    of_end.into_iter().chain(diverged).collect()
}

#[cfg(test)]
mod tests {
    use eqr_probes::Accuracy;
    use eqr_probes::attentive_transfer::RatePoint;

    use super::*;

    #[test]
    fn ends_of_the_grid_and_divergence_are_said() {
        let notes = |chosen: usize, diverged: usize| {
            let point =
                |(place, &lr): (usize, &f64)| RatePoint { lr, val_top1: (place != diverged).then_some(0.5) };
            rate_notes(&AttentiveTransfer {
                accuracy: Accuracy { top1: 0.5, mean_per_class: 0.5 },
                lr: RATES[chosen],
                grid: RATES.iter().enumerate().map(point).collect(),
                predicted: vec![0],
            })
            .join("\n")
        };
        assert_eq!(notes(1, RATES.len()), "");
        assert!(notes(0, RATES.len()).contains("the smallest learning rate of the grid (0.0001)"));
        let of_largest = notes(3, 2);
        assert!(of_largest.contains("a larger one may be better"), "{of_largest}");
        assert!(of_largest.contains("diverged at lr 0.001"), "{of_largest}");
    }
}
