//! Probes of what features hold of the transformation between two views, as values (protocol section 4).

use anyhow::Result;
use eqr_probes::mlp::{Fit, ProbeConfig, fit, permuted};
use eqr_probes::Problem;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::{quaternion, ridge};
use tch::Tensor;

use crate::encoder::representation::Representation;
use crate::measure::probe::ProbeScope;
use crate::run_folder::metric::{Better, MeasuredValue};
use crate::suite_file::suite::{Probe, ReadoutHalf};

/// Suffix of metrics of pairs that differ by all transforms at once.
pub const COMBINED: &str = "_combined";

/// Metric that counts the outputs of a target that do not vary on the test split, so that they have no R2.
pub const UNDEFINED: &str = "undefined_outputs";

/// What a representation is read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readout {
    /// y, or a half of it.
    Y(ReadoutHalf),
    /// y and the quadrant means of the equivariant token map.
    Grid,
}

impl Readout {
    fn suffix(self) -> &'static str {
        match self {
            Readout::Y(ReadoutHalf::All) => "",
            Readout::Y(ReadoutHalf::Inv) => "_inv",
            Readout::Y(ReadoutHalf::Equi) => "_equi",
            Readout::Grid => "_grid",
        }
    }
}

/// Features of both views of pairs and what lies between the views.
pub struct Regression {
    /// Name of the task.
    pub task: String,
    /// [`COMBINED`] where the pairs differ by all transforms at once, else nothing.
    pub suffix: &'static str,
    /// What probes are fitted to.
    pub train: PairFeatures,
    /// What they are measured on.
    pub test: PairFeatures,
}

impl Regression {
    /// As a problem of all of y.
    pub fn problem(&self) -> Problem {
        self.problem_of(ReadoutHalf::All)
    }

    /// As a problem of a part of y, which must have two halves where it is not all of it.
    pub fn problem_of(&self, part: ReadoutHalf) -> Problem {
        Asked { set: self, readout: Readout::Y(part), canonical: false }.problem()
    }
}

/// Pairs as probes read them.
pub struct PairFeatures {
    /// (N, 2 D): y of both views.
    pub y: Tensor,
    /// (N, 2 D + 8 D'): y and quadrant means of both views, where there is a token map.
    pub grid: Option<Tensor>,
    /// (N, k): what leads from the first view to the second.
    pub target: Tensor,
}

impl PairFeatures {
    /// Of the representations of first and second views, N each.
    pub fn of(first: &Representation, second: &Representation, target: &Tensor) -> PairFeatures {
        let beside = |first: &Tensor, second: &Tensor| Tensor::cat(&[first, second], 1);
        let grids = first.grid.as_ref().zip(second.grid.as_ref());
        PairFeatures {
            y: beside(&first.y, &second.y),
            grid: grids.map(|(first, second)| beside(first, second)),
            target: target.shallow_clone(),
        }
    }

    /// (N, columns of both views); the readout is one that they have
    fn read(&self, readout: Readout) -> Tensor {
        let half = self.y.size()[1] / 4;
        let halves =
            |from: i64| Tensor::cat(&[self.y.narrow(1, from, half), self.y.narrow(1, 2 * half + from, half)], 1);
        match readout {
            Readout::Y(ReadoutHalf::All) => self.y.shallow_clone(),
            Readout::Y(ReadoutHalf::Inv) => halves(0),
            Readout::Y(ReadoutHalf::Equi) => halves(half),
            Readout::Grid => self.grid.as_ref().expect("asked only where there is one").shallow_clone(),
        }
    }
}

/// R2 of every set: of MLP probes with each seed, and, to the full extent, of linear probes, of the constant predictor, and of probes of
/// permuted targets.
///
/// # Errors
/// Features that are not finite, and what else the probes refuse.
pub fn values(sets: &[Regression], probe: &Probe, extent: ProbeScope) -> Result<Vec<MeasuredValue>> {
    let seeds: Vec<u64> = match extent {
        ProbeScope::Full => (0..probe.seeds).collect(),
        ProbeScope::CurvePoint => vec![0],
    };
    let mut values = Vec::new();
    let has_grid = sets.iter().all(|set| set.train.grid.is_some() && set.test.grid.is_some());
    let parts = probe.parts.iter().map(|&part| Readout::Y(part));
    for readout in parts.chain(has_grid.then_some(Readout::Grid)) {
        let asked = sets.iter().flat_map(|set| Asked::of(set, readout)).collect::<Vec<_>>();
        let problems: Vec<Problem> = asked.iter().map(Asked::problem).collect();
        let fits = fit(&problems, &seeds, &probe.regression)?;
        for ((asked, problem), fits) in asked.iter().zip(&problems).zip(fits) {
            let of_seeds = seeds.iter().zip(&fits);
            values.extend(of_seeds.flat_map(|(&seed, fit)| asked.values("", Some(seed), &fit.train, &fit.test)));
            if extent == ProbeScope::Full {
                let linear = ridge::fit(problem)?;
                values.extend(asked.values("_linear", None, &linear.train, &linear.test));
            }
        }
    }
    for set in sets {
        let constant = constant_predictor(&set.train.target, &set.test.target)?;
        let metric = format!("r2_pooled_constant{}", set.suffix);
        values.extend(constant.pooled.map(|r2| value(&set.task, metric, None, r2)));
        let undefined = constant.outputs.iter().filter(|r2| r2.is_none()).count();
        if undefined > 0 {
            let metric = format!("{UNDEFINED}{}", set.suffix);
            values.push(MeasuredValue { unit: "outputs", ..value(&set.task, metric, None, undefined as f64) });
        }
    }
    if extent == ProbeScope::Full {
        values.extend(shuffled(sets, &probe.regression)?);
    }
    Ok(values)
}

/// The sanity row: probes of y trained on permuted targets, tested on intact ones.
fn shuffled(sets: &[Regression], config: &ProbeConfig) -> Result<Vec<MeasuredValue>> {
    let single: Vec<&Regression> = sets.iter().filter(|set| set.suffix.is_empty()).collect();
    let problem = |set: &&Regression| {
        let asked = Asked { set, readout: Readout::Y(ReadoutHalf::All), canonical: false };
        Problem { train_t: permuted(&set.train.target, 0), ..asked.problem() }
    };
    let problems: Vec<Problem> = single.iter().map(problem).collect();
    let fits = fit(&problems, &[0], config)?;
    let row = |(set, fits): (&&Regression, Vec<Fit>)| {
        let r2 = fits[0].test.per_output?;
        Some(value(&set.task, "r2_per_output_shuffled".into(), Some(0), r2))
    };
    Ok(single.iter().zip(fits).filter_map(row).collect())
}

/// A question to the features of a set.
struct Asked<'a> {
    set: &'a Regression,
    readout: Readout,
    /// Whether quaternions are read with signs such that w >= 0, as q and -q are one rotation.
    canonical: bool,
}

impl<'a> Asked<'a> {
    /// What is asked of a set: its target, and where that is quaternions, read from all of y, also with canonical signs.
    fn of(set: &'a Regression, readout: Readout) -> impl Iterator<Item = Asked<'a>> {
        let quaternions = readout == Readout::Y(ReadoutHalf::All) && quaternion::are_unit(&set.train.target);
        let both = [Some(false), quaternions.then_some(true)];
        both.into_iter().flatten().map(move |canonical| Asked { set, readout, canonical })
    }

    fn problem(&self) -> Problem {
        let target = |side: &PairFeatures| match self.canonical {
            true => quaternion::canonical(&side.target),
            false => side.target.shallow_clone(),
        };
        let Asked { set, readout, .. } = *self;
        Problem {
            name: format!("{}{}{}", set.task, set.suffix, readout.suffix()),
            train_x: set.train.read(readout),
            train_t: target(&set.train),
            test_x: set.test.read(readout),
            test_t: target(&set.test),
        }
    }

    /// The R2 of a probe as values; those that are undefined are none.
    fn values(&self, probe: &str, seed: Option<u64>, train: &R2, test: &R2) -> Vec<MeasuredValue> {
        let canonical = if self.canonical { "_canonical" } else { "" };
        let suffix = format!("{probe}{canonical}{}{}", self.set.suffix, self.readout.suffix());
        let all =
            [("r2_per_output", test.per_output), ("r2_pooled", test.pooled), ("r2_per_output_train", train.per_output)];
        let row = |(name, r2): (&str, Option<f64>)| Some(value(&self.set.task, format!("{name}{suffix}"), seed, r2?));
        all.into_iter().filter_map(row).collect()
    }
}

/// A value of R2.
pub fn value(task: &str, metric: String, eval_seed: Option<u64>, value: f64) -> MeasuredValue {
    MeasuredValue { task: task.to_owned(), metric, eval_seed, value, unit: "R2", better: Better::Higher }
}
