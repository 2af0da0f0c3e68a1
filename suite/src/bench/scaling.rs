//! Weak and strong scaling: the network of the work, trained on 1, 2, 4, ... of the launch's ranks.

use std::fmt::Display;
use std::num::NonZeroUsize;

use anyhow::Result;
use eqr_models::Collective;
use serde::Serialize;
use serde_json::json;

use crate::bench::finished_run::training;
use crate::bench::request::BenchRequest;
use crate::cluster::agreement::{agree, agree_in_run};
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::cores::LaunchCores;
use crate::console::print_text;
use crate::failure::{Failure, Outcome};
use crate::run::{self, RunRequest, RunScope};
use crate::run_folder::atomic_file::write_atomic;

/// What stays the same when ranks are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scaling {
    /// The pairs of a step.
    Strong,
    /// The pairs of a step on each rank.
    Weak,
}

/// A training on some of the ranks.
#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    ranks: usize,
    batch: usize,
    steps: u64,
    seconds: f64,
    images_per_second: f64,
    /// Images per second and rank against those of one rank.
    efficiency: f64,
}

impl Scaling {
    fn name(self) -> &'static str {
        match self {
            Scaling::Strong => "strong",
            Scaling::Weak => "weak",
        }
    }

    /// How many times the work of one rank this number of ranks does.
    fn times(self, ranks: usize) -> usize {
        match self {
            Scaling::Strong => 1,
            Scaling::Weak => ranks,
        }
    }
}

/// Trains on 1, 2, 4, ... ranks and on all, prints a table and writes it to `scaling-NAME.json`. Ranks that
/// do not take part wait. Before, all train once untimed: what only the first training of a process does
/// would slow the first row alone, and make the others look efficient.
///
/// # Errors
/// As [`super::bench`].
pub fn scale(request: &BenchRequest, scaling: Scaling, ranks: &dyn Collective) -> Outcome<()> {
    let sizes = sizes(ranks.size());
    let name = |size: &dyn Display| format!("{}-{size}", scaling.name());
    let warm_up = name(&"warm-up");
    let names: Vec<String> = sizes.iter().map(|size| name(size)).chain([warm_up.clone()]).collect();
    agree(ranks, request.begin(&names.iter().map(String::as_str).collect::<Vec<_>>(), ranks))?;
    // the ranks that wait keep their cores
    let fair = LaunchCores::gather(ranks).fair_threads(ranks.rank());
    let threads = request.compute.threads.or(NonZeroUsize::new(fair));
    let request = BenchRequest { compute: ComputeOptions { threads, ..request.compute }, ..request.clone() };
    let set = agree(ranks, request.scale.warm_up_overrides(scaling.times(ranks.size())))?;
    run::run(&RunRequest { scope: RunScope::Trainings, ..request.run(&warm_up, set) }, ranks)?;
    let mut points: Vec<Point> = Vec::new();
    for (&size, name) in sizes.iter().zip(&names) {
        let times = scaling.times(size);
        let batch = request.scale.short_batch(times);
        let set = agree(ranks, request.scale.short_overrides(times))?;
        let run = RunRequest { scope: RunScope::Trainings, ..request.run(name, set) };
        let takes_part = ranks.rank() < size;
        let group = ranks.split(usize::from(!takes_part));
        let done = if takes_part { run::run(&run, &*group) } else { Ok(()) };
        // the ranks that wait do not know of a failure in the group and must be ended
        done.map_err(|failure| Failure { agreed: failure.agreed && size == ranks.size(), ..failure })?;
        ranks.idle_barrier();
        let point = (ranks.rank() == 0).then(|| point(&request, name, size, batch, points.first()));
        points.extend(agree_in_run(ranks, point.transpose())?);
    }
    let published = (ranks.rank() == 0).then(|| publish(&request, scaling, &points));
    agree_in_run(ranks, published.transpose()).map(drop)
}

/// 1, 2, 4, ... below `all`, then `all`.
fn sizes(all: usize) -> Vec<usize> {
    (0..).map(|power| 1 << power).take_while(|&size| size < all).chain([all]).collect()
}

fn point(
    request: &BenchRequest,
    name: &str,
    ranks: usize,
    batch: usize,
    one: Option<&Point>,
) -> Result<Point> {
    let training = training(&request.folder(name))?;
    let images_per_second = 2.0 * (training.step as usize * batch) as f64 / training.seconds;
    let alone = one.map_or(images_per_second, |one| one.images_per_second);
    let efficiency = images_per_second / (ranks as f64 * alone);
    Ok(Point { ranks, batch, steps: training.step, seconds: training.seconds, images_per_second, efficiency })
}

fn publish(request: &BenchRequest, scaling: Scaling, points: &[Point]) -> Result<()> {
    let definition = request.scale.definition();
    let result = json!({"definition": definition, "scaling": scaling.name(), "points": points});
    let json = format!("{result:#}\n");
    write_atomic(&request.folder(format!("scaling-{}.json", scaling.name())), json.as_bytes())?;
    if request.json {
        return print_text(&json);
    }
    let head = format!(
        "{definition}, {} scaling\nranks   batch   steps   seconds   images/s   efficiency\n",
        scaling.name()
    );
    let line = |point: &Point| {
        let Point { ranks, batch, steps, seconds, images_per_second, efficiency } = point;
        format!(
            "{ranks:5} {batch:7} {steps:7} {seconds:9.2} {images_per_second:10.0} {:10.1} %\n",
            100.0 * efficiency
        )
    };
    print_text(&(head + &points.iter().map(line).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::{Scaling, sizes};

    #[test]
    fn ranks_double_up_to_all() {
        assert_eq!([sizes(1), sizes(4), sizes(6)], [vec![1], vec![1, 2, 4], vec![1, 2, 4, 6]]);
        assert_eq!([Scaling::Strong.times(4), Scaling::Weak.times(4)], [1, 4]);
    }
}
