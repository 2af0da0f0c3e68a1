//! Reading features from what an encoder returns: a class token and a map.

use anyhow::{Result, bail};
use tch::Tensor;

use crate::encoder::representation::Representation;
use crate::suite_file::encoder_options::Readout;

/// Why an attentive readout is refused where features are read.
const ATTENTIVE_HAS_NO_FEATURES: &str = "--readout attentive: a probe learns this pooling for each target, so \
     that an encoder has no features by it\nhint: `eqr-bench probe` and `transfer` have it; here, give \
     --readout cls, mean, cls+mean or grid";

impl Readout {
    /// What the features are read from.
    pub fn text(self) -> &'static str {
        match self {
            Readout::Cls => "the class token",
            Readout::Mean => "the mean of the patch tokens",
            Readout::ClsMean => "the class token and the mean of the patch tokens",
            Readout::Grid => "the class token, or the mean, and the means of the map's quadrants",
            Readout::Attentive => "all tokens",
        }
    }

    /// The representation of a class token (B, D) and a map (B, D, h, w). Every pooled feature (.., D) is
    /// normalised by `after`.
    ///
    /// # Errors
    /// No class token where one is read; a map of less than 2 x 2 where its quadrants are; an attentive
    /// readout, which is no function of the encoder.
    pub(super) fn read(
        self,
        class: Option<&Tensor>,
        map: &Tensor,
        after: impl Fn(&Tensor) -> Tensor,
    ) -> Result<Representation> {
        let mean = after(&map.mean_dim([2i64, 3].as_slice(), false, None));
        let class = class.map(&after);
        let quadrants = quadrants(map, &after);
        let y = match (self, &class, &quadrants) {
            (Readout::Mean, ..) => mean,
            (Readout::Cls, Some(class), _) => class.shallow_clone(),
            (Readout::ClsMean, Some(class), _) => Tensor::cat(&[class, &mean], 1),
            (Readout::Grid, class, Some(quadrants)) => {
                let y = Tensor::cat(&[class.as_ref().unwrap_or(&mean), quadrants], 1);
                return Ok(Representation { y, grid: None });
            }
            (Readout::Cls | Readout::ClsMean, None, _) => {
                bail!("--readout: there is no class token\nhint: give --readout mean or --readout grid")
            }
            (Readout::Attentive, ..) => bail!(ATTENTIVE_HAS_NO_FEATURES),
            (Readout::Grid, _, None) => {
                bail!("--readout grid: the map is {:?}, less than 2 x 2", &map.size()[2..])
            }
        };
        let grid = quadrants.map(|quadrants| Tensor::cat(&[&y, &quadrants], 1));
        Ok(Representation { y, grid })
    }
}

/// A class token (B, D) and a map (B, D, h, w) as tokens (B, T, D), the class token first.
pub(super) fn as_tokens(class: Option<&Tensor>, map: &Tensor) -> Tensor {
    let patches = map.flatten(2, 3).transpose(1, 2);
    match class {
        Some(class) => Tensor::cat(&[class.unsqueeze(1), patches], 1),
        None => patches.contiguous(),
    }
}

/// The means of the quadrants of a map (B, D, h, w), normalised: (B, 4 D), the four of a channel together.
/// None of a map of less than 2 x 2.
pub(super) fn quadrants(map: &Tensor, after: impl Fn(&Tensor) -> Tensor) -> Option<Tensor> {
    let (batch, width, rows, columns) = map.size4().expect("a map is (B, D, h, w)");
    let means = || map.adaptive_avg_pool2d([2, 2]).flatten(2, 3).transpose(1, 2); // (B, 4, D)
    (rows > 1 && columns > 1).then(|| after(&means()).transpose(1, 2).reshape([batch, 4 * width]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.flatten(0, -1).to_kind(tch::Kind::Double)).unwrap()
    }

    #[test]
    fn features_are_read_from_class_token_mean_and_quadrants() {
        // one image, a class token of 9 and 2 x 2 patches of one channel
        let class = Tensor::from_slice(&[9f32]).view([1, 1]);
        let map = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([1, 1, 2, 2]);
        let read = |readout: Readout| {
            let read = readout.read(Some(&class), &map, |x| x * 2.0).unwrap();
            (numbers(&read.y), read.grid.as_ref().map(numbers))
        };
        let quadrants = [2.0, 4.0, 6.0, 8.0];
        let with = |first: &[f64]| [first, &quadrants].concat();
        assert_eq!(read(Readout::Cls), (vec![18.0], Some(with(&[18.0]))));
        assert_eq!(read(Readout::Mean), (vec![5.0], Some(with(&[5.0]))));
        assert_eq!(read(Readout::ClsMean), (vec![18.0, 5.0], Some(with(&[18.0, 5.0]))));
        assert_eq!(read(Readout::Grid), (with(&[18.0]), None));
        let without = |readout: Readout| readout.read(None, &map, Tensor::shallow_clone);
        assert!(without(Readout::Cls).is_err() && without(Readout::ClsMean).is_err());
        assert_eq!(numbers(&without(Readout::Grid).unwrap().y), [2.5, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn tokens_are_the_class_token_and_the_map_row_by_row() {
        let class = Tensor::from_slice(&[8f32, 9.0]).view([1, 2]);
        let map = Tensor::arange(8, (tch::Kind::Float, tch::Device::Cpu)).view([1, 2, 2, 2]);
        assert_eq!(
            numbers(&as_tokens(Some(&class), &map)),
            [8.0, 9.0, 0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]
        );
        assert_eq!(as_tokens(None, &map).size(), [1, 4, 2]);
        assert!(Readout::Attentive.read(Some(&class), &map, Tensor::shallow_clone).is_err());
    }

    #[test]
    fn a_map_of_one_row_has_no_quadrants() {
        let row = Tensor::from_slice(&[1f32, 3.0, 5.0, 7.0]).view([1, 1, 1, 4]);
        assert!(Readout::Mean.read(None, &row, Tensor::shallow_clone).unwrap().grid.is_none());
        assert!(Readout::Grid.read(None, &row, Tensor::shallow_clone).is_err());
    }
}
