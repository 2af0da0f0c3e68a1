//! Scores of probes on pairs from ranges that they were not trained on.

use eqr_probes::Result;
use eqr_probes::mlp::Fit;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::ridge::LinearFit;
use tch::Tensor;

use crate::registry::Predictor;

/// Scores on pairs from shifted ranges.
pub struct ShiftedScores {
    /// Of the MLP probes, one per seed.
    pub mlp: Vec<TestScore>,
    /// Of the linear probe.
    pub linear: TestScore,
    /// Of the constant predictor.
    pub constant: R2,
}

impl ShiftedScores {
    /// The squared residuals of every kind of probe, one tensor per seed.
    pub(super) fn squares(&self) -> impl Iterator<Item = (Predictor, Vec<Tensor>)> {
        let of =
            |scores: &[TestScore]| scores.iter().map(|score| Tensor::from_slice(&score.squares)).collect();
        let linear = std::slice::from_ref(&self.linear);
        [(Predictor::Mlp, of(&self.mlp)), (Predictor::Linear, of(linear))].into_iter()
    }
}

/// A probe's R2 on test pairs, with its squared residuals.
pub struct TestScore {
    /// The R2.
    pub r2: R2,
    /// Row by row, M k values.
    squares: Vec<f64>,
}

/// Targets of a problem whose ordinary test pairs are followed by pairs from shifted ranges.
pub(super) struct TargetsInTurn<'a> {
    /// (N, k), of the training pairs.
    pub(super) train: &'a Tensor,
    /// (M, k), of the ordinary test pairs.
    pub(super) ordinary: &'a Tensor,
    /// (M', k), of the shifted pairs.
    pub(super) shifted: &'a Tensor,
}

impl TargetsInTurn<'_> {
    /// Splits the test scores of probes, which keep those on the ordinary pairs.
    ///
    /// # Errors
    /// Those of [`constant_predictor`].
    pub(super) fn split_off(&self, mlp: &mut [Fit], linear: &mut LinearFit) -> Result<ShiftedScores> {
        let of_fit = |fit: &mut Fit| self.split_score(&mut fit.test, &mut fit.test_squares);
        Ok(ShiftedScores {
            mlp: mlp.iter_mut().map(of_fit).collect(),
            linear: self.split_score(&mut linear.test, &mut linear.test_squares),
            constant: constant_predictor(self.train, self.shifted)?,
        })
    }

    fn split_score(&self, r2: &mut R2, squares: &mut Vec<f64>) -> TestScore {
        let shifted = squares.split_off(self.ordinary.numel());
        *r2 = R2::from_squares(squares, self.ordinary);
        TestScore { r2: R2::from_squares(&shifted, self.shifted), squares: shifted }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use eqr_datasets::draw::{Purpose, rng};
    use eqr_datasets::transforms::{Shift, Transform};
    use eqr_datasets::{Dataset, Pack, SetKind, Split};
    use eqr_probes::mlp::{Precision, ProbeConfig};
    use ndarray::Array4;
    use rand::Rng;
    use tch::{Device, Kind};

    use super::*;
    use crate::data::open::OpenedPack;
    use crate::data::pairs::PairSource;
    use crate::encoder::representation::{FeatureEncoder, Representation};
    use crate::measure::evaluation::Evaluation;
    use crate::measure::pair_features::PairSet;
    use crate::measure::regression::{Question, Scores, score};
    use crate::registry::Readout;
    use crate::suite_file::probe::Probe;
    use crate::suite_file::transforms::Transforms;

    const PHOTOGRAPHS: usize = 4000;
    const SIDE: usize = 4;

    /// All images have this value, so a view's mean is proportional to the factor of its brightness.
    const GREY: u8 = 100;

    /// y is the mean of the image, in units of the target of brightness, with noise from U(-1, 1).
    struct NoisyMean<R>(RefCell<R>);

    impl<R: Rng> FeatureEncoder for NoisyMean<R> {
        fn represent(&self, images: &Tensor) -> anyhow::Result<Representation> {
            let mean = images.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
            let unit = 0.4 * f64::from(GREY) / 255.0;
            let noise: Vec<f32> =
                (0..images.size()[0]).map(|_| self.0.borrow_mut().r#gen_range(-1.0..1.0)).collect();
            Ok(Representation { y: (mean / unit + Tensor::from_slice(&noise)).view([-1, 1]), grid: None })
        }
    }

    fn split() -> Split {
        Split {
            images: Array4::from_elem((PHOTOGRAPHS, SIDE, SIDE, 3), GREY),
            labels: vec![0; PHOTOGRAPHS],
            scene: None,
        }
    }

    fn scored(set: &PairSet) -> Scores<'_> {
        let config = ProbeConfig { hidden: 4, epochs: 1, batch: 500, lr: 1e-3 };
        let questions = Question::all(set, Readout::Y).collect();
        score(questions, &[0], &config, Precision::Fp32, &mut |_, _| {}).unwrap().remove(0)
    }

    fn brightness(r2: &R2) -> f64 {
        r2.outputs[0].unwrap()
    }

    /// Of the linear and the MLP probe.
    fn ordinary(scores: &Scores) -> [f64; 2] {
        [&scores.linear.test, &scores.mlp[0].test].map(brightness)
    }

    /// A target t of variance 1/3 is read from t + n, whose noise n has variance 1/3, too: least squares
    /// predicts (t + n) / 2. Its mean squared error is (E t² + 1/3) / 4, on any range of t. Factors from
    /// [0.2, 0.6] are t from [-2, -1], with E t² = 7/3 and variance 1/12.
    #[test]
    fn a_planted_linear_encoder_has_the_r2_of_the_closed_form() {
        let dataset = Dataset {
            name: "set".into(),
            kind: SetKind::Photographs,
            class_names: vec!["a".into()],
            mean: [0.0; 3],
            std: [1.0; 3],
            train: split(),
            test: split(),
            provenance: serde_json::Value::Null,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.h5");
        dataset.write(&path).unwrap();
        let opened = OpenedPack { pack: Pack::open(&path).unwrap(), side: SIDE };
        let transforms = Transforms { active: vec![Transform::Color], ..Transforms::default() };
        let source = |name: &str| PairSource::new(&opened, name, &transforms, Device::Cpu).unwrap();
        let (train, test) = (source("train"), source("test"));
        let pairs = 2 * PHOTOGRAPHS;
        let shift = Some(Shift { brightness: Some([0.2, 0.6]), ..Shift::default() });
        let probe = Probe { train_pairs: pairs, test_pairs: pairs, shift, ..Probe::default() };
        let evaluation = Evaluation {
            transforms: &transforms,
            probe: &probe,
            pack: &opened.pack,
            train: &train,
            test: &test,
            resamples: false,
        };
        let encoder = NoisyMean(RefCell::new(rng(0, 0, 0, Purpose::Latents)));
        let mut set = evaluation.pair_sets(&encoder, false).unwrap().remove(0);
        let beyond = set.shifted.take();
        let alone = ordinary(&scored(&set));
        set.shifted = beyond;
        let scores = scored(&set);
        let [linear, mlp] = ordinary(&scores);
        assert!(
            (linear - alone[0]).abs() < 1e-5 && (mlp - alone[1]).abs() < 1e-5,
            "{alone:?} {linear} {mlp}"
        );
        assert!((linear - 0.5).abs() < 0.02, "{linear}");
        let shifted = scores.shifted.as_ref().unwrap();
        let linear = brightness(&shifted.linear.r2);
        assert!((linear - (1.0 - 12.0 * (7.0 / 3.0 + 1.0 / 3.0) / 4.0)).abs() < 0.4, "{linear}");
        let constant = brightness(&shifted.constant);
        assert!((constant - (1.0 - 12.0 * 7.0 / 3.0)).abs() < 1.0, "{constant}");
        assert!((brightness(&shifted.mlp[0].r2) - mlp).abs() > 1.0, "{mlp}");
    }
}
