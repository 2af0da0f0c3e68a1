//! How far probes are from the parameters of the transformations, place by place.

use std::rc::Rc;

use anyhow::Result;
use eqr_probes::Problem;
use eqr_probes::mlp::{Fit, Precision, fit_with_progress};
use eqr_probes::redraw::Redraw;
use eqr_probes::ridge;
use tch::{Kind, Tensor};

use crate::console::with_progress;
use crate::measure::xray::spots::{LayerPairs, Spot, spots};
use crate::suite_file::probe::Probe;
use crate::suite_file::tasks::EquivarianceTask;

/// Number of places whose perceptrons train side by side. More would train no faster, and need the memory of
/// their pairs.
const SIDE_BY_SIDE: usize = 12;

/// The pairs that probes are fitted to and scored on, with the parameters of `tasks`.
#[derive(Clone, Copy)]
pub(super) struct Splits<'a> {
    pub(super) train: &'a LayerPairs<'a>,
    pub(super) test: &'a LayerPairs<'a>,
    pub(super) tasks: &'a [EquivarianceTask],
}

/// What a probe made of the test pairs at one place.
pub(super) struct Prediction {
    pub(super) spot: Spot,
    /// R2 of each output of all tasks, where it is defined.
    pub(super) outputs: Vec<Option<f64>>,
    /// (M, k): squared residuals, float64 on the CPU.
    pub(super) squares: Tensor,
}

/// Ridge regressions. One fit serves all outputs, since each has its own strength of the penalty.
pub(super) fn by_ridge(splits: Splits) -> Result<Vec<Prediction>> {
    let spots = spots(splits.test.first.layers);
    with_progress("ridge regressions", |tick| {
        let predict = |(done, &spot): (usize, &Spot)| {
            let all = splits.test.parameters.size()[1];
            let fit = ridge::fit(&splits.problem(&Features::at(spot, splits), 0, all))?;
            tick(done + 1, spots.len());
            let squares = Tensor::from_slice(&fit.test_squares).view([-1, all]);
            Ok(Prediction { spot, outputs: fit.test.outputs, squares })
        };
        spots.iter().enumerate().map(predict).collect()
    })
}

/// Perceptrons, one for each task and seed as in `probe`.
pub(super) fn by_perceptrons(splits: Splits, settings: &Probe) -> Result<Vec<Prediction>> {
    let seeds: Vec<u64> = (0..settings.seeds).collect();
    let spots = spots(splits.test.first.layers);
    let mut found = Vec::new();
    with_progress("MLP probes of all places", |tick| {
        for spots_here in spots.chunks(SIDE_BY_SIDE) {
            let problems: Vec<Problem> =
                spots_here.iter().flat_map(|&spot| splits.problems(&Features::at(spot, splits))).collect();
            let before = found.len();
            let mut tick = |epoch, all| tick(before * all + epoch * spots_here.len(), spots.len() * all);
            let fits =
                fit_with_progress(Precision::Fp32, &problems, &seeds, &settings.regression, &mut tick)?;
            let of_spots = spots_here.iter().zip(fits.chunks(splits.tasks.len()));
            found.extend(of_spots.map(|(&spot, fits)| Prediction::of_seeds(spot, fits, splits.tasks)));
        }
        Ok(found)
    })
}

/// What is read at a place, of both views side by side.
struct Features {
    spot: Spot,
    /// (N, D)
    train: Tensor,
    /// (M, D)
    test: Tensor,
}

impl Features {
    fn at(spot: Spot, Splits { train, test, .. }: Splits) -> Features {
        let beside = |pairs: &LayerPairs| Tensor::cat(&[pairs.first.at(spot), pairs.second.at(spot)], 1);
        Features { spot, train: beside(train), test: beside(test) }
    }
}

impl Splits<'_> {
    /// A problem for each task.
    fn problems(self, features: &Features) -> Vec<Problem> {
        let mut start = 0;
        let of_task = |&EquivarianceTask { outputs, .. }: &EquivarianceTask| {
            start += outputs;
            self.problem(features, start - outputs, outputs)
        };
        self.tasks.iter().map(of_task).collect()
    }

    /// To predict `outputs` parameters from column `start` on.
    fn problem(self, features: &Features, start: i64, outputs: i64) -> Problem {
        let Splits { train, test, .. } = self;
        let part = move |parameters: &Tensor| parameters.narrow(1, start, outputs).contiguous();
        let redraw = train.redrawn.map(|pairs| Redraw {
            images: features.spot.of(train.first.layers).shallow_clone(),
            pairs: pairs.clone(),
            target: Rc::new(move |parameters, _| part(parameters)),
        });
        Problem {
            name: features.spot.name(),
            train_x: features.train.shallow_clone(),
            train_t: part(train.parameters),
            redraw,
            test_x: features.test.shallow_clone(),
            test_t: part(test.parameters),
        }
    }
}

impl Prediction {
    /// The mean over the seeds; `fits` are indexed `[task][seed]`.
    fn of_seeds(spot: Spot, fits: &[Vec<Fit>], tasks: &[EquivarianceTask]) -> Prediction {
        let output = |fits: &[Fit], output: usize| {
            let values: Vec<f64> = fits.iter().map(|fit| fit.test.outputs[output]).collect::<Option<_>>()?;
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        let tasks = || fits.iter().zip(tasks.iter().map(|task| task.outputs));
        let of_task = |(fits, outputs): (&Vec<Fit>, i64)| {
            let each: Vec<Tensor> = fits.iter().map(|fit| Tensor::from_slice(&fit.test_squares)).collect();
            Tensor::stack(&each, 0).mean_dim([0i64].as_slice(), false, None::<Kind>).view([-1, outputs])
        };
        Prediction {
            spot,
            outputs: tasks()
                .flat_map(|(fits, outputs)| (0..outputs as usize).map(move |each| output(fits, each)))
                .collect(),
            squares: Tensor::cat(&tasks().map(of_task).collect::<Vec<_>>(), 1),
        }
    }
}
