//! The order in which cells are taken: the dearest first, so that the ranks end at the same time.

use crate::run::context::RunContext;
use crate::run::cost;
use crate::run::data_set_size::DataSetSize;
use crate::run::measurements::{MeasuredRow, Measurement};
use crate::suite_file::plan::EncoderRun;

/// Sorts trainings by estimated cost, from the dearest to the cheapest.
pub(super) fn dearest_trainings_first(context: &RunContext, trainings: &mut Vec<EncoderRun>) {
    let (suite, size) = (context.suite(), data_set_size(context));
    sort(trainings, |run| {
        // what cannot be built is refused where it is trained
        let cost = cost::training(suite, run, &size, context.options.compute, 1, None);
        Estimate { flops: cost.ok().and_then(|cost| cost.flops()), row: None }
    });
}

/// Sorts by estimated cost, from the dearest to the cheapest. What is not known, of encoders from files, may
/// be long and comes first, row by row: a rank then opens an encoder once for the measurements that it takes.
pub(super) fn dearest_first(context: &RunContext, measurements: &mut Vec<Measurement>) {
    let (suite, size) = (context.suite(), data_set_size(context));
    let images = |pack: &eqr_datasets::Pack| Some(pack.splits.iter().map(|split| split.len()).sum());
    let images: Vec<Option<usize>> = context.prepared.downstream.transfer.iter().map(images).collect();
    let place = |row: &MeasuredRow| suite.rows.iter().position(|own| own.name == row.name());
    sort(measurements, |measurement| Estimate {
        flops: match measurement.row.results() {
            // they are read
            Some(_) => Some(0.0),
            None => cost::measurement(suite, &size, &images, measurement),
        },
        row: place(&measurement.row).filter(|_| measurement.row.is_external()),
    });
}

fn data_set_size(context: &RunContext) -> DataSetSize {
    let data = &context.prepared.data;
    DataSetSize {
        kind: data.pack.kind,
        side: data.side,
        units: Some(context.train.units().len()),
        classes: data.pack.class_names.len(),
    }
}

/// What is known of a cell before it is taken.
struct Estimate {
    flops: Option<f64>,
    /// The external row.
    row: Option<usize>,
}

/// Sorts, and keeps the order of those that are alike.
fn sort<T>(all: &mut Vec<T>, estimate: impl Fn(&T) -> Estimate) {
    let mut estimated: Vec<(f64, Option<usize>, T)> = std::mem::take(all)
        .into_iter()
        .map(|own| {
            let Estimate { flops, row } = estimate(&own);
            (flops.unwrap_or(f64::INFINITY), row, own)
        })
        .collect();
    estimated.sort_by(|(a, row_a, _), (b, row_b, _)| b.total_cmp(a).then(row_a.cmp(row_b)));
    all.extend(estimated.into_iter().map(|(_, _, own)| own));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three ranks that each take the next one when they are free, and the time until the last is done.
    fn taken(costs: &[f64]) -> (Vec<usize>, f64) {
        let mut busy_until = [0.0f64; 3];
        let rank_of = |cost: &f64| {
            let free = (0..3).min_by(|&a, &b| busy_until[a].total_cmp(&busy_until[b])).unwrap();
            busy_until[free] += cost;
            free
        };
        let ranks = costs.iter().map(rank_of).collect();
        (ranks, busy_until.into_iter().fold(0.0, f64::max))
    }

    #[test]
    fn the_dearest_come_first_and_the_ranks_end_together() {
        let mut costs = vec![1.0, 1.0, 1.0, 2.0, 4.0, 6.0, 3.0];
        // in turn, the third rank has 7 of 18 and ends last; so does any rank with the 6 at the end
        assert_eq!(taken(&costs).1, 7.0);
        sort(&mut costs, |cost| Estimate { flops: Some(*cost), row: None });
        assert_eq!(costs, [6.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0]);
        assert_eq!(taken(&costs), (vec![0, 1, 2, 2, 1, 1, 2], 6.0));
    }

    #[test]
    fn what_is_unknown_comes_first_row_by_row() {
        let mut all = vec![
            ("probe-a", None, Some(0)),
            ("probe-b", None, Some(1)),
            ("probe-ours", Some(5.0), None),
            ("transfer-a", None, Some(0)),
            ("transfer-ours", Some(9.0), None),
            ("transfer-b", None, Some(1)),
            ("results", Some(0.0), Some(2)),
        ];
        sort(&mut all, |&(_, flops, row)| Estimate { flops, row });
        let names: Vec<&str> = all.into_iter().map(|(name, ..)| name).collect();
        let expected =
            ["probe-a", "transfer-a", "probe-b", "transfer-b", "transfer-ours", "probe-ours", "results"];
        assert_eq!(names, expected);
    }
}
