//! The order of a run's work: the pretraining seeds one after the other, so that a table of all rows stands
//! early, and again after every seed.

use std::ops::Range;

use crate::failure::Outcome;
use crate::run::context::RunContext;
use crate::run::measurements::after_training;

/// Cells of one seed, and the workers that share them.
#[derive(Clone, Copy)]
struct Shared {
    cells: usize,
    workers: usize,
}

impl Shared {
    /// Whether at least two thirds of the workers are busy, on average, with the cells of this many seeds.
    fn is_busy(self, seeds: usize) -> bool {
        let cells = seeds * self.cells;
        2 * self.workers * cells.div_ceil(self.workers) <= 3 * cells
    }
}

/// The seeds of `context` in stages. All cells of a stage are finished before the next stage begins. A stage
/// has one seed, or as many as are needed to keep the ranks busy.
pub(super) fn stages(context: &RunContext) -> Outcome<Vec<Range<u64>>> {
    let ranks = context.worker.ranks.size();
    let mut runs = context.encoder_runs()?;
    runs.retain(|run| run.seed == context.seeds.start);
    let trainings = runs.iter().filter(|run| run.row.kind.trains()).count();
    let measurements = after_training(&context.prepared.sub_suite, &runs);
    let measurements = measurements.iter().filter(|measurement| !measurement.row.is_external()).count();
    let shared = [
        Shared { cells: trainings, workers: ranks / context.options.ranks_per_cell },
        Shared { cells: measurements, workers: ranks },
    ];
    Ok(divided(context.seeds.clone(), &shared))
}

fn divided(seeds: Range<u64>, shared: &[Shared]) -> Vec<Range<u64>> {
    let all = usize::try_from(seeds.end - seeds.start).unwrap_or(usize::MAX);
    let is_busy = |seeds: &usize| shared.iter().all(|shared| shared.is_busy(*seeds));
    let a_stage = (1..all).find(is_busy).unwrap_or(all).max(1);
    let stage = |start: u64| start..(start + a_stage as u64).min(seeds.end);
    seeds.clone().step_by(a_stage).map(stage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_one_seed_unless_ranks_would_wait() {
        let divided =
            |cells, workers| divided(5..8, &[Shared { cells, workers }, Shared { cells: 4, workers: 1 }]);
        assert_eq!(divided(8, 2), [5..6, 6..7, 7..8]);
        // two of four rounds of two are half empty
        assert_eq!(divided(3, 2), [5..6, 6..7, 7..8]);
        assert_eq!(divided(1, 2), [5..7, 7..8]);
        assert_eq!(divided(5, 4), [5..7, 7..8]);
        assert_eq!(divided(8, 64).as_slice(), std::slice::from_ref(&(5..8)));
        // nothing to train
        assert_eq!(divided(0, 4), [5..6, 6..7, 7..8]);
    }
}
