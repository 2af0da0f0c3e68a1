//! R2 of every transformation at every place: how well probes predict its parameters from the readout of
//! both views.

use anyhow::Result;
use eqr_probes::bootstrap::{Resampled, Statistic, resample};
use tch::{Device, Tensor};

use crate::measure::duration;
use crate::measure::xray::predictions::{Prediction, Splits, by_perceptrons, by_ridge};
use crate::measure::xray::spots::{LayerPairs, Spot, spots};
use crate::run_folder::xray::{Reading, XrayMeasure};
use crate::suite_file::probe::Probe;
use crate::suite_file::tasks::EquivarianceTask;
use crate::suite_file::xray::XrayProbe;

/// Which probes there are.
#[derive(Clone, Copy)]
pub(super) struct Probes<'a> {
    pub(super) kind: XrayProbe,
    /// Seeds and training of the perceptrons.
    pub(super) settings: &'a Probe,
}

/// The columns of one value among the outputs of all tasks.
struct Columns<'a> {
    task: &'a str,
    output: Option<usize>,
    start: i64,
    length: i64,
}

/// R2 per output of every task, and of every output by itself, whose parameters lie side by side.
pub(super) fn measure(splits: Splits, probes: Probes) -> Result<Vec<Reading>> {
    let mut readings = Vec::new();
    if probes.kind.has_linear() {
        readings.extend(read(splits, XrayMeasure::LinearR2, &by_ridge(splits)?));
    }
    if probes.kind.has_mlp() {
        let predictions = by_perceptrons(splits, probes.settings)?;
        readings.extend(read(splits, XrayMeasure::MlpR2, &predictions));
    }
    Ok(readings)
}

/// Says how long the perceptrons of all places and `tasks` take, if that is long. `train` has pairs of one
/// set of them.
pub(super) fn say_perceptrons(train: &LayerPairs, tasks: &[EquivarianceTask], probes: Probes) {
    if !probes.kind.has_mlp() {
        return;
    }
    let layers = train.first.layers;
    let rows = train.parameters.size()[0];
    let shape = |spot: Spot, task: &EquivarianceTask| [rows, 2 * spot.of(layers).size()[1], task.outputs];
    let spots = spots(layers).into_iter();
    let shapes: Vec<[i64; 3]> =
        spots.flat_map(|spot| tasks.iter().map(move |task| shape(spot, task))).collect();
    let Probe { seeds, regression, .. } = probes.settings;
    duration::say_perceptrons(&shapes, *seeds as usize, regression, train.parameters.device());
}

/// The readings of one measure, with their intervals.
fn read(splits: Splits, measure: XrayMeasure, predictions: &[Prediction]) -> Vec<Reading> {
    let columns = columns(splits.tasks);
    let target = splits.test.parameters.to_device(Device::Cpu);
    let (mut readings, mut statistics) = (Vec::new(), Vec::new());
    for prediction in predictions {
        for of in &columns {
            let part = |t: &Tensor| t.narrow(1, of.start, of.length);
            statistics.push(Statistic::r2_per_output(&part(&prediction.squares), &part(&target)));
            readings.push(reading(measure, of, prediction));
        }
    }
    for (reading, draws) in readings.iter_mut().zip(resample(splits.test.objects, &statistics)) {
        reading.ci95 = draws.as_ref().map(Resampled::interval);
    }
    readings
}

fn reading(measure: XrayMeasure, of: &Columns, Prediction { spot, outputs, .. }: &Prediction) -> Reading {
    let outputs = &outputs[of.start as usize..(of.start + of.length) as usize];
    let defined: Vec<f64> = outputs.iter().copied().flatten().collect();
    Reading {
        layer: spot.place.to_string(),
        tokens: spot.tokens.to_string(),
        measure,
        task: Some(of.task.to_owned()),
        output: of.output,
        value: (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64),
        ci95: None,
    }
}

/// All outputs of each task together, then each by itself if there are several.
fn columns(tasks: &[EquivarianceTask]) -> Vec<Columns<'_>> {
    let mut all = Vec::new();
    let mut start = 0;
    for EquivarianceTask { name, outputs } in tasks {
        all.push(Columns { task: name, output: None, start, length: *outputs });
        let each = (0..*outputs).filter(|_| *outputs > 1);
        all.extend(each.map(|output| Columns {
            task: name,
            output: Some(output as usize),
            start: start + output,
            length: 1,
        }));
        start += outputs;
    }
    all
}
