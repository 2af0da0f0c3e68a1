//! Attentive probes: the transformation between two views, predicted from all tokens of both.
//!
//! Tokens are many, so they are encoded in a pass of their own, which keeps those of one transform's pairs at
//! a time, in half precision. The pairs, their targets and their epochs are those of the other probes.

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_datasets::transforms::Transform;
use eqr_probes::Problem;
use eqr_probes::attentive::{TokenPairs, TokenProblem, fit};
use eqr_probes::mlp::{Fit, ProbeConfig};
use tch::{Kind, Tensor};

use crate::console::with_progress;
use crate::encoder::frozen::FrozenEncoder;
use crate::measure::duration;
use crate::measure::evaluation::{DRAWS, Evaluation};
use crate::measure::pair_features::PairSet;
use crate::measure::pair_sets::{Photographs, View};
use crate::measure::regression::Question;
use crate::measure::render_pairs::Renders;
use crate::measure::tokens::Tokens;
use crate::registry::{Predictor, Readout};
use crate::run_folder::metric::MeasuredValues;

/// How attentive probes are fitted.
pub struct AttentiveProbes<'a> {
    /// The images.
    pub evaluation: &'a Evaluation<'a>,
    /// One probe for each of these.
    pub seeds: &'a [u64],
    /// Training.
    pub config: &'a ProbeConfig,
    /// Memory for tokens, in GB. While they are encoded, up to half as much is taken beside it.
    pub memory: f64,
    /// What to do if they take more, given the GB that they take.
    pub remedy: fn(f64) -> String,
}

impl AttentiveProbes<'_> {
    /// Fits the probes of every question that reads y of `sets`, which are the pairs of this evaluation, in
    /// the order of [`Question::all`]. Each has one fit for each seed.
    ///
    /// # Errors
    /// An encoder without tokens; tokens that take more memory than allowed; images that cannot be read;
    /// training that diverges.
    pub fn fit(&self, encoder: &FrozenEncoder, sets: &[PairSet]) -> Result<Vec<Vec<Fit>>> {
        let encoder = Tokens::of(encoder)?;
        let shape = encoder.shape();
        encoder.check_memory(self.images_at_a_time(), self.memory, self.remedy)?;
        self.say_duration(&encoder, shape, sets);
        match self.evaluation.pack.kind {
            SetKind::Renders => self.of_renders(&encoder, shape, sets),
            SetKind::Photographs => self.of_photographs(&encoder, shape, sets),
        }
    }

    /// Their R2 of every question, seed by seed, with draws if the evaluation has them.
    ///
    /// # Errors
    /// As [`AttentiveProbes::fit`].
    pub fn measure(&self, encoder: &FrozenEncoder) -> Result<MeasuredValues> {
        let Evaluation { probe, resamples, .. } = *self.evaluation;
        let sets = tch::no_grad(|| self.evaluation.pair_sets(encoder, probe.combined))?;
        let mut all = MeasuredValues::default();
        for (question, fits) in questions(&sets).zip(self.fit(encoder, &sets)?) {
            all.extend(question.of_fits(Predictor::Attentive, self.seeds, &fits, resamples));
        }
        Ok(all)
    }

    /// Number of images whose tokens are kept at a time.
    fn images_at_a_time(&self) -> usize {
        let Evaluation { pack, train, test, .. } = self.evaluation;
        match pack.kind {
            SetKind::Renders => {
                let draws = [self.evaluation.train_draws(), self.evaluation.test_draws()];
                draws.iter().zip([train, test]).map(|(draws, split)| draws.images(split).len()).sum()
            }
            SetKind::Photographs => {
                let photographs = [self.evaluation.train_photographs(), self.evaluation.test_photographs()];
                2 * DRAWS as usize * photographs.iter().map(Vec::len).sum::<usize>()
            }
        }
    }

    fn say_duration(&self, encoder: &Tokens, tokens: [i64; 2], sets: &[PairSet]) {
        let combined = sets.iter().any(|set| set.combined);
        duration::say_encoding(encoder.encoder(), self.evaluation.views(combined));
        let questions: Vec<Question> = questions(sets).collect();
        duration::say_attentive(&questions, tokens, self.seeds.len(), self.config);
    }

    /// All tasks share the same images, whose pairs are drawn anew for each epoch.
    fn of_renders(&self, encoder: &Tokens, shape: [i64; 2], sets: &[PairSet]) -> Result<Vec<Vec<Fit>>> {
        let Evaluation { train, test, .. } = self.evaluation;
        let train = Renders::encode(encoder, train, self.evaluation.train_draws())?;
        let test = Renders::encode(encoder, test, self.evaluation.test_draws())?;
        let pairs = |renders: &Renders| {
            let rows = renders.rows();
            let images = as_tokens(renders.images(), shape);
            TokenPairs {
                first: images.shallow_clone(),
                second: images,
                first_rows: rows.first,
                second_rows: rows.second,
            }
        };
        questions(sets).map(|question| self.fit_one(&question, pairs(&train), pairs(&test))).collect()
    }

    /// Every transform has its own second views; its tasks share them.
    fn of_photographs(&self, encoder: &Tokens, shape: [i64; 2], sets: &[PairSet]) -> Result<Vec<Vec<Fit>>> {
        let evaluation = self.evaluation;
        let (train, test) = (Photographs::training(evaluation), Photographs::test(evaluation));
        let seen = |photographs: &Photographs, view: View| {
            let mut seen = photographs.seen(encoder, &[view])?;
            let (images, _) = seen.pop().expect("one view");
            Ok::<_, anyhow::Error>(as_tokens(&images.y, shape))
        };
        let (train_first, test_first) = (seen(&train, View::First)?, seen(&test, View::First)?);
        let mut fits = Vec::new();
        for alike in sets.chunk_by(|a, b| a.combined && b.combined) {
            let transforms = transforms_of(evaluation, &alike[0]);
            let second = View::Second(&transforms);
            let (train_second, test_second) = (seen(&train, second)?, seen(&test, second)?);
            let pairs = |first: &Tensor, second: &Tensor| {
                let rows = Tensor::arange(first.size()[0], (Kind::Int64, first.device()));
                let (first, second) = (first.shallow_clone(), second.shallow_clone());
                TokenPairs { first, second, first_rows: rows.shallow_clone(), second_rows: rows }
            };
            for question in questions(alike) {
                let splits = (pairs(&train_first, &train_second), pairs(&test_first, &test_second));
                fits.push(self.fit_one(&question, splits.0, splits.1)?);
            }
        }
        Ok(fits)
    }

    fn fit_one(&self, question: &Question, train: TokenPairs, test: TokenPairs) -> Result<Vec<Fit>> {
        let Problem { name, train_t, redraw, test_t, .. } = question.problem();
        let redraw = redraw.map(|redraw| (redraw.pairs, redraw.target));
        let label = format!("attentive probes of {name}, epochs");
        let problem = TokenProblem { name, train, train_t, redraw, test, test_t };
        Ok(with_progress(&label, |tick| fit(&problem, self.seeds, self.config, tick))?)
    }
}

/// The questions that attentive probes answer: those of all of y.
fn questions(sets: &[PairSet]) -> impl Iterator<Item = Question<'_>> {
    sets.iter().flat_map(|set| Question::all(set, Readout::Y))
}

/// The transforms that make the second views of a set of pairs.
fn transforms_of(evaluation: &Evaluation, set: &PairSet) -> Vec<Transform> {
    let active = evaluation.transforms.active.iter().copied();
    active.filter(|transform| set.combined || transform.name() == set.task).collect()
}

/// Tokens that were kept as rows (N, T D), as (N, T, D).
fn as_tokens(rows: &Tensor, [tokens, width]: [i64; 2]) -> Tensor {
    rows.view([-1, tokens, width])
}
