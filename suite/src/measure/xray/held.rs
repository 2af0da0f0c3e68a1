//! R2 of every transformation at every place: how well ridge regression predicts its parameters from the
//! readout of both views.

use anyhow::Result;
use eqr_probes::Problem;
use eqr_probes::bootstrap::{Resampled, Statistic, resample};
use eqr_probes::ridge::{self, LinearFit};
use tch::{Device, Tensor};

use crate::console::with_progress;
use crate::measure::xray::reading::{Reading, XrayMeasure};
use crate::measure::xray::spots::{LayerPairs, Spot, spots};
use crate::suite_file::tasks::EquivarianceTask;

/// The columns of one value among the outputs of all tasks.
struct Columns<'a> {
    task: &'a str,
    output: Option<usize>,
    start: i64,
    length: i64,
}

/// R2 per output of every task, and of every output by itself, whose parameters lie side by side.
pub(super) fn measure(
    train: &LayerPairs,
    test: &LayerPairs,
    tasks: &[EquivarianceTask],
) -> Result<Vec<Reading>> {
    let (columns, spots) = (columns(tasks), spots(test.first.layers));
    let target = test.parameters.to_device(Device::Cpu);
    let (mut readings, mut statistics) = (Vec::new(), Vec::new());
    with_progress("ridge regressions", |tick| {
        for (done, &spot) in spots.iter().enumerate() {
            let fit = fit(spot, train, test)?;
            let squares = Tensor::from_slice(&fit.test_squares).view_as(&target);
            for of in &columns {
                let part = |t: &Tensor| t.narrow(1, of.start, of.length);
                statistics.push(Statistic::r2_per_output(&part(&squares), &part(&target)));
                readings.push(reading(spot, of, &fit));
            }
            tick(done + 1, spots.len());
        }
        Ok::<_, anyhow::Error>(())
    })?;
    for (reading, draws) in readings.iter_mut().zip(resample(test.objects, &statistics)) {
        reading.interval = draws.as_ref().map(Resampled::interval);
    }
    Ok(readings)
}

/// One fit serves all outputs, since each has its own strength of the penalty.
fn fit(spot: Spot, train: &LayerPairs, test: &LayerPairs) -> Result<LinearFit> {
    let beside = |pairs: &LayerPairs| Tensor::cat(&[pairs.first.at(spot), pairs.second.at(spot)], 1);
    Ok(ridge::fit(&Problem {
        name: spot.name(),
        train_x: beside(train),
        train_t: train.parameters.shallow_clone(),
        redraw: None,
        test_x: beside(test),
        test_t: test.parameters.shallow_clone(),
    })?)
}

fn reading(spot: Spot, of: &Columns, fit: &LinearFit) -> Reading {
    let outputs = &fit.test.outputs[of.start as usize..(of.start + of.length) as usize];
    let defined: Vec<f64> = outputs.iter().copied().flatten().collect();
    Reading {
        place: spot.place,
        tokens: spot.tokens,
        measure: XrayMeasure::R2,
        task: Some(of.task.to_owned()),
        output: of.output,
        value: (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64),
        interval: None,
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
