//! Probes that predict the transformation between two views from their features (protocol section 4).

use std::rc::Rc;

use eqr_datasets::transforms::Transform;
use eqr_probes::bootstrap::{Statistic, resample};
use eqr_probes::mlp::{Fit, Precision, ProbeConfig, fit_with_progress, permuted};
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::redraw::TargetOfPairs;
use eqr_probes::ridge::{self, LinearFit};
use eqr_probes::{Problem, quaternion};
use tch::{Device, Tensor};

use crate::console::with_progress;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::Evaluation;
use crate::measure::pair_features::{PairFeatures, PairSet};
use crate::measure::shifted::{ShiftedScores, TargetsInTurn, TestScore};
use crate::registry::{Predictor, R2Definition, R2Metric, Readout};
use crate::run_folder::metric::{MeasuredValue, MeasuredValues, ResampledMetric};
use crate::suite_file::probe::Probe;

/// Label of the progress of probes.
const PROBES: &str = "probes, epochs";

/// One regression problem: a target of a set, and the features that predict it.
pub struct Question<'a> {
    set: &'a PairSet,
    readout: Readout,
    /// Whether quaternion signs are chosen such that w >= 0, since q and -q are the same rotation.
    canonical: bool,
    /// Whether the training targets are permuted.
    shuffled: bool,
}

/// The scores of a question's probes.
pub struct Scores<'a> {
    /// The question.
    pub question: Question<'a>,
    /// MLP probes, one per seed.
    pub mlp: Vec<Fit>,
    /// The linear probe.
    pub linear: LinearFit,
    /// Attentive probes, one per seed; none unless they were asked for.
    pub attentive: Vec<Fit>,
    /// The constant predictor, on test pairs.
    pub constant: R2,
    /// The same probes on pairs from shifted ranges, if the set has them.
    pub shifted: Option<ShiftedScores>,
}

impl<'a> Question<'a> {
    /// The questions of a set: its target, and also the target with canonical signs if it consists of
    /// quaternions and all of y is read.
    pub fn all(set: &'a PairSet, readout: Readout) -> impl Iterator<Item = Question<'a>> {
        let canonical = readout == Readout::Y && !set.combined && set.task == Transform::Rotation.name() && {
            [&set.train.target, &set.test.target].into_iter().all(quaternion::are_unit)
        };
        [Some(false), canonical.then_some(true)].into_iter().flatten().map(move |canonical| Question {
            set,
            readout,
            canonical,
            shuffled: false,
        })
    }

    /// The task whose parameters are predicted.
    pub fn task(&self) -> &str {
        &self.set.task
    }

    /// Training pairs, features and outputs.
    pub(super) fn shape(&self) -> [i64; 3] {
        let x = self.set.train.read(self.readout).size();
        [x[0], x[1], self.set.train.target.size()[1]]
    }

    /// What its probes read.
    pub fn readout(&self) -> Readout {
        self.readout
    }

    /// Where its features are.
    pub(super) fn device(&self) -> Device {
        self.set.train.y.device()
    }

    /// The task, followed by what distinguishes the question: `rotation_canonical`.
    pub fn name(&self) -> String {
        let metric = self.metric(R2Definition::PerOutput, Predictor::Mlp).to_string();
        format!("{}{}", self.set.task, &metric[R2Metric::PER_OUTPUT.to_string().len()..])
    }

    /// The metric of this question for a definition and a predictor.
    pub fn metric(&self, definition: R2Definition, predictor: Predictor) -> R2Metric {
        R2Metric {
            definition,
            predictor,
            canonical: self.canonical,
            combined: self.set.combined,
            shifted: false,
            readout: self.readout,
        }
    }

    /// The metric on pairs from shifted ranges.
    pub fn shifted_metric(&self, definition: R2Definition, predictor: Predictor) -> R2Metric {
        R2Metric { shifted: true, ..self.metric(definition, predictor) }
    }

    /// (M, k): the targets of test pairs.
    fn target_of(&self, pairs: &PairFeatures) -> Tensor {
        match self.canonical {
            true => quaternion::canonical(&pairs.target),
            false => pairs.target.shallow_clone(),
        }
    }

    /// The problem whose test pairs are followed by those from shifted ranges, if the set has them.
    fn problem_with_shifted(&self) -> Problem {
        let own = self.problem();
        let Some(pairs) = &self.set.shifted else { return own };
        Problem {
            test_x: Tensor::cat(&[own.test_x, pairs.read(self.readout)], 0),
            test_t: Tensor::cat(&[own.test_t, self.target_of(pairs)], 0),
            ..own
        }
    }

    pub(super) fn problem(&self) -> Problem {
        let Question { set: PairSet { train, test, .. }, readout, canonical, shuffled } = *self;
        let signed = move |t: &Tensor| if canonical { quaternion::canonical(t) } else { t.shallow_clone() };
        let target: TargetOfPairs = Rc::new(move |parameters, epoch| match shuffled {
            true => permuted(&signed(parameters), 0, epoch),
            false => signed(parameters),
        });
        Problem {
            name: self.name(),
            train_x: train.read(readout),
            train_t: target(&train.target, 0),
            redraw: train.redrawn.as_ref().map(|pairs| pairs.redraw(readout, target)),
            test_x: test.read(readout),
            test_t: self.target_of(test),
        }
    }

    /// The R2 values of a probe, where defined.
    fn values(&self, predictor: Predictor, seed: Option<u64>, train: &R2, test: &R2) -> Vec<MeasuredValue> {
        let all = [
            (R2Definition::PerOutput, test.per_output),
            (R2Definition::Pooled, test.pooled),
            (R2Definition::PerOutputTrain, train.per_output),
        ];
        let value = |(definition, value): (R2Definition, Option<f64>)| {
            Some(self.metric(definition, predictor).value(&self.set.task, seed, value?))
        };
        all.into_iter().filter_map(value).collect()
    }

    /// The R2 values of `fits`, one for each of `seeds`.
    fn values_of_seeds(&self, predictor: Predictor, seeds: &[u64], fits: &[Fit]) -> Vec<MeasuredValue> {
        let of_seed = |(&seed, fit): (&u64, &Fit)| self.values(predictor, Some(seed), &fit.train, &fit.test);
        seeds.iter().zip(fits).flat_map(of_seed).collect()
    }

    /// The R2 values of `fits`, one for each of `seeds`, with draws if they are `resampled`.
    pub(super) fn of_fits(
        &self,
        predictor: Predictor,
        seeds: &[u64],
        fits: &[Fit],
        resampled: bool,
    ) -> MeasuredValues {
        let values = self.values_of_seeds(predictor, seeds, fits);
        let mut draws = Vec::new();
        if resampled {
            let squares: Vec<Tensor> = fits.iter().map(|fit| Tensor::from_slice(&fit.test_squares)).collect();
            let metric = self.metric(R2Definition::PerOutput, predictor);
            let all = statistics_of(metric, &squares, &self.target_of(&self.set.test));
            let (metrics, statistics): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let found = metrics.iter().zip(resample(&self.set.test.objects, &statistics));
            draws.extend(found.filter_map(|(metric, draws)| {
                Some(ResampledMetric::new(&self.set.task, &metric.to_string(), &draws?))
            }));
        }
        MeasuredValues { values, resampled: draws }
    }
}

impl Scores<'_> {
    /// The metrics that get an interval, with their statistics: both definitions of R2, of the MLP and the
    /// attentive probes as a mean over their seeds, and of the linear probe. Those on pairs from shifted
    /// ranges follow, if the set has them.
    pub fn statistics(&self) -> Vec<(R2Metric, Statistic)> {
        let (question, definition) = (&self.question, R2Definition::PerOutput);
        let of_fits = |fits: &[Fit]| fits.iter().map(|fit| Tensor::from_slice(&fit.test_squares)).collect();
        let of_probes: [(Predictor, Vec<Tensor>); 3] = [
            (Predictor::Mlp, of_fits(&self.mlp)),
            (Predictor::Linear, vec![Tensor::from_slice(&self.linear.test_squares)]),
            (Predictor::Attentive, of_fits(&self.attentive)),
        ];
        let target = question.target_of(&question.set.test);
        let ordinary = of_probes.into_iter().filter(|(_, squares)| !squares.is_empty()).flat_map(
            |(predictor, squares)| statistics_of(question.metric(definition, predictor), &squares, &target),
        );
        let shifted = question.set.shifted.iter().zip(&self.shifted).flat_map(|(pairs, scores)| {
            let target = question.target_of(pairs);
            scores.squares().flat_map(move |(predictor, squares)| {
                statistics_of(question.shifted_metric(definition, predictor), &squares, &target)
            })
        });
        ordinary.chain(shifted).collect()
    }
}

/// `metric` by both definitions, from the squared residuals of one or several seeds, M k each, for targets
/// (M, k).
fn statistics_of(metric: R2Metric, squares: &[Tensor], target: &Tensor) -> [(R2Metric, Statistic); 2] {
    let target = target.to_device(Device::Cpu);
    let mean = squares.iter().sum::<Tensor>().view_as(&target) / squares.len() as f64;
    [
        (
            R2Metric { definition: R2Definition::PerOutput, ..metric },
            Statistic::r2_per_output(&mean, &target),
        ),
        (R2Metric { definition: R2Definition::Pooled, ..metric }, Statistic::pooled_r2(&mean, &target)),
    ]
}

/// The draws of a bootstrap over the test objects, for every metric of [`Scores::statistics`] that has them.
pub fn resampled(scores: &[Scores]) -> Vec<ResampledMetric> {
    let mut all = Vec::new();
    for of_objects in scores.chunk_by(|a, b| a.question.set.test.objects == b.question.set.test.objects) {
        let objects = &of_objects[0].question.set.test.objects;
        let tasks = of_objects.iter().flat_map(|scores| {
            scores
                .statistics()
                .into_iter()
                .map(|(metric, statistic)| (&scores.question.set.task, metric, statistic))
        });
        let (names, statistics): (Vec<_>, Vec<_>) =
            tasks.map(|(task, metric, statistic)| ((task, metric.to_string()), statistic)).unzip();
        let found = names.into_iter().zip(resample(objects, &statistics));
        all.extend(
            found.filter_map(|((task, metric), draws)| Some(ResampledMetric::new(task, &metric, &draws?))),
        );
    }
    all
}

/// Fits an MLP probe for each seed, then linear probes, and scores both beside the constant predictor.
/// `progress` receives the number of finished epochs and the total number of epochs.
///
/// # Errors
/// Features that are not finite, and the other errors of [`fit_with_progress`] and [`ridge::fit`].
pub fn score<'a>(
    questions: Vec<Question<'a>>,
    seeds: &[u64],
    config: &ProbeConfig,
    precision: Precision,
    progress: &mut dyn FnMut(usize, usize),
) -> eqr_probes::Result<Vec<Scores<'a>>> {
    let problems: Vec<Problem> = questions.iter().map(Question::problem_with_shifted).collect();
    let fits = fit_with_progress(precision, &problems, seeds, config, progress)?;
    let score = |((question, problem), mut mlp): ((Question<'a>, &Problem), Vec<Fit>)| {
        let mut linear = ridge::fit(problem)?;
        let (train, ordinary) = (&problem.train_t, &question.target_of(&question.set.test));
        let constant = constant_predictor(train, ordinary)?;
        let split_off = |pairs| {
            let shifted = &question.target_of(pairs);
            TargetsInTurn { train, ordinary, shifted }.split_off(&mut mlp, &mut linear)
        };
        let shifted = question.set.shifted.as_ref().map(split_off).transpose()?;
        Ok(Scores { question, mlp, linear, attentive: Vec::new(), constant, shifted })
    };
    questions.into_iter().zip(&problems).zip(fits).map(score).collect()
}

impl Scores<'_> {
    /// The R2 on pairs from shifted ranges, of the MLP probes with `seeds` and of the linear probe.
    fn shifted_values(&self, seeds: &[u64]) -> Vec<MeasuredValue> {
        let Some(ShiftedScores { mlp, linear, .. }) = &self.shifted else { return Vec::new() };
        let scores = seeds.iter().zip(mlp).map(|(&seed, score)| (Predictor::Mlp, Some(seed), score));
        let of_score = |(predictor, seed, score): (Predictor, Option<u64>, &TestScore)| {
            let r2s =
                [(R2Definition::PerOutput, score.r2.per_output), (R2Definition::Pooled, score.r2.pooled)];
            r2s.into_iter().filter_map(move |(definition, value)| {
                let metric = self.question.shifted_metric(definition, predictor);
                Some(metric.value(self.question.task(), seed, value?))
            })
        };
        scores.chain([(Predictor::Linear, None, linear)]).flat_map(of_score).collect()
    }
}

/// R2 of every task: of MLP probes with each seed, of linear probes, of the constant predictor, and of MLP
/// probes that were trained on permuted targets.
pub(super) fn measure(
    evaluation: &Evaluation,
    encoder: &dyn FeatureEncoder,
) -> anyhow::Result<MeasuredValues> {
    let sets = evaluation.pair_sets(encoder, evaluation.probe.combined)?;
    measure_sets(&sets, evaluation.probe, evaluation.resamples)
}

/// Like [`measure`], but from pairs that are already encoded; with `resamples`, with the draws of the values.
pub(super) fn measure_sets(
    sets: &[PairSet],
    probe: &Probe,
    resamples: bool,
) -> anyhow::Result<MeasuredValues> {
    let mut all = MeasuredValues::default();
    for questions in questions_by_readout(sets, probe) {
        all.extend(answers(questions, probe, resamples)?);
    }
    all.values.extend(constant_values(sets)?);
    all.values.extend(shuffled_values(sets, &probe.regression)?);
    Ok(all)
}

/// R2 of every set as in the tables' headline, of MLP probes with each seed and of linear probes, with draws.
pub(super) fn measure_headlines(sets: &[PairSet], probe: &Probe) -> anyhow::Result<MeasuredValues> {
    let of_set = |set| Question { set, readout: Readout::Y, canonical: false, shuffled: false };
    answers(sets.iter().map(of_set).collect(), probe, true)
}

/// R2 of MLP probes with each seed, and of linear probes, on ordinary and on shifted pairs; with `resamples`,
/// with the draws of the values.
fn answers(questions: Vec<Question>, probe: &Probe, resamples: bool) -> anyhow::Result<MeasuredValues> {
    let seeds: Vec<u64> = (0..probe.seeds).collect();
    let scores =
        with_progress(PROBES, |tick| score(questions, &seeds, &probe.regression, Precision::Fp32, tick))?;
    let mut values = Vec::new();
    for of_question in &scores {
        let Scores { question, mlp, linear, .. } = of_question;
        values.extend(question.values_of_seeds(Predictor::Mlp, &seeds, mlp));
        values.extend(question.values(Predictor::Linear, None, &linear.train, &linear.test));
        values.extend(of_question.shifted_values(&seeds));
    }
    let resampled = if resamples { resampled(&scores) } else { Vec::new() };
    Ok(MeasuredValues { values, resampled })
}

/// A point of the curve of R2 against steps: MLP probes of one seed, and the constant predictor.
pub(super) fn measure_curve_point(
    evaluation: &Evaluation,
    encoder: &dyn FeatureEncoder,
) -> anyhow::Result<Vec<MeasuredValue>> {
    let probe = &Probe { shift: None, ..evaluation.probe.clone() };
    let evaluation = &Evaluation { probe, ..*evaluation };
    let (sets, seeds) = (evaluation.pair_sets(encoder, false)?, [0]);
    let mut values = Vec::new();
    for questions in questions_by_readout(&sets, evaluation.probe) {
        let problems: Vec<Problem> = questions.iter().map(Question::problem).collect();
        let fits = fit_shown(PROBES, &problems, &seeds, &evaluation.probe.regression)?;
        values.extend(
            questions
                .iter()
                .zip(fits)
                .flat_map(|(question, fits)| question.values_of_seeds(Predictor::Mlp, &seeds, &fits)),
        );
    }
    values.extend(constant_values(&sets)?);
    Ok(values)
}

/// Fits MLP probes in single precision and shows their progress.
fn fit_shown(
    label: &str,
    problems: &[Problem],
    seeds: &[u64],
    config: &ProbeConfig,
) -> eqr_probes::Result<Vec<Vec<Fit>>> {
    with_progress(label, |tick| fit_with_progress(Precision::Fp32, problems, seeds, config, tick))
}

/// The questions of all sets: one list for each half of y in the suite's `probe.parts`, and one for the grid.
fn questions_by_readout<'a>(sets: &'a [PairSet], probe: &Probe) -> impl Iterator<Item = Vec<Question<'a>>> {
    let has_grid = sets.iter().all(PairSet::has_grid);
    let halves = probe.parts.iter().map(|&half| half.into()).collect::<Vec<Readout>>();
    let readouts = halves.into_iter().chain(has_grid.then_some(Readout::Grid));
    readouts.map(|readout| sets.iter().flat_map(|set| Question::all(set, readout)).collect())
}

/// R2 of the constant predictor for every set, and the number of outputs without an R2.
fn constant_values(sets: &[PairSet]) -> eqr_probes::Result<Vec<MeasuredValue>> {
    let mut values = Vec::new();
    for PairSet { task, combined, train, test, .. } in sets {
        let constant = constant_predictor(&train.target, &test.target)?;
        let metric = |metric: R2Metric| R2Metric { combined: *combined, ..metric };
        values.extend(constant.pooled.map(|pooled| metric(R2Metric::CONSTANT).value(task, None, pooled)));
        let undefined = constant.outputs.iter().filter(|r2| r2.is_none()).count();
        if undefined > 0 {
            values.push(metric(R2Metric::UNDEFINED_OUTPUTS).value(task, None, undefined as f64));
        }
    }
    Ok(values)
}

/// The sanity check: probes of y that are trained on permuted targets and tested on intact ones. The targets
/// of every epoch's pairs are permuted among themselves.
fn shuffled_values(sets: &[PairSet], config: &ProbeConfig) -> eqr_probes::Result<Vec<MeasuredValue>> {
    let single: Vec<&PairSet> = sets.iter().filter(|set| !set.combined).collect();
    let problem =
        |&set: &&PairSet| Question { set, readout: Readout::Y, canonical: false, shuffled: true }.problem();
    let problems: Vec<Problem> = single.iter().map(problem).collect();
    let fits = fit_shown("probes of shuffled targets, epochs", &problems, &[0], config)?;
    let value = |(set, fits): (&&PairSet, Vec<Fit>)| {
        Some(R2Metric::SHUFFLED.value(&set.task, Some(0), fits[0].test.per_output?))
    };
    Ok(single.iter().zip(fits).filter_map(value).collect())
}

#[cfg(test)]
mod tests {
    use eqr_probes::bootstrap::Objects;
    use tch::Kind;

    use super::*;

    fn pairs(target: &[f32], columns: i64) -> PairFeatures {
        let target = Tensor::from_slice(target).view([-1, columns]);
        PairFeatures {
            y: Tensor::zeros([target.size()[0], 8], (Kind::Float, Device::Cpu)),
            grid: None,
            objects: Objects::of_rows(target.size()[0] as usize),
            target,
            redrawn: None,
        }
    }

    fn set(task: &str, combined: bool, target: &[f32], columns: i64) -> PairSet {
        PairSet {
            task: task.to_owned(),
            combined,
            train: pairs(target, columns),
            test: pairs(target, columns),
            shifted: None,
        }
    }

    fn names(set: &PairSet, readout: Readout) -> Vec<String> {
        Question::all(set, readout).map(|question| question.name()).collect()
    }

    #[test]
    fn quaternions_are_also_read_with_canonical_signs_from_all_of_y() {
        let rotation = set("rotation", false, &[0.6, 0.0, 0.0, -0.8], 4);
        assert_eq!(names(&rotation, Readout::Y), ["rotation", "rotation_canonical"]);
        assert_eq!(names(&rotation, Readout::Equivariant), ["rotation_equi"]);
        let target =
            |question: Question| Vec::<f32>::try_from(question.problem().train_t.view([-1])).unwrap();
        let targets: Vec<Vec<f32>> = Question::all(&rotation, Readout::Y).map(target).collect();
        assert_eq!(targets, [[0.6, 0.0, 0.0, -0.8], [-0.6, 0.0, 0.0, 0.8]]);
        assert_eq!(names(&set("rotation", false, &[0.6, 0.0, 0.0, 0.0], 4), Readout::Y), ["rotation"]);
        assert_eq!(names(&set("color", true, &[1.0, 0.0], 2), Readout::Grid), ["color_combined_grid"]);
    }

    #[test]
    fn outputs_that_do_not_vary_are_counted() {
        let values = constant_values(&[set("flip", true, &[1.0, 2.0, 1.0, 3.0], 2)]).unwrap();
        let last = values.last().unwrap();
        assert_eq!(
            (last.metric.as_str(), last.value, last.unit),
            ("undefined_outputs_combined", 1.0, "outputs")
        );
    }
}
