//! The fixed work: the check of the build, then the timed run.

use std::time::Instant;

use anyhow::Result;
use eqr_models::Collective;
use serde_json::json;

use crate::bench::check::{Check, check};
use crate::bench::figure_of_merit::{FigureOfMerit, Parts};
use crate::bench::finished_run::{check_learned, number_type, phase_seconds, training};
use crate::bench::request::BenchRequest;
use crate::bench::stopwatch::{StepParts, Stopwatch};
use crate::cluster::agreement::{agree, agree_in_run};
use crate::cluster::energy::{Energy, EnergyMeter};
use crate::console::print_text;
use crate::failure::Outcome;
use crate::run::{self, RunRequest, RunScope};
use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::manifest;

/// The folder of the recorded steps.
const CHECK: &str = "check";

/// The folder of a timed run, counted from 1.
fn work(repeat: usize) -> String {
    format!("work-{repeat}")
}

/// Checks the build, does the work as often as it is asked for, prints the median time and writes it to
/// `bench.json`.
///
/// # Errors
/// Bad input (2); a result that is not valid and so has no time, or a failed run (3); a stop request (75).
pub fn bench(request: &BenchRequest, ranks: &dyn Collective) -> Outcome<()> {
    let works: Vec<String> = (1..=request.repeat.get()).map(work).collect();
    let folders: Vec<&str> = [CHECK].into_iter().chain(works.iter().map(String::as_str)).collect();
    agree(ranks, request.begin(&folders, ranks))?;
    let check = run_check(request, ranks)?;
    let device = agree(ranks, request.compute.device.device(ranks.place_on_node()))?;
    let mut figures = Vec::new();
    for work in &works {
        let stopwatch = Stopwatch::around(ranks);
        let meter = EnergyMeter::start(ranks, device);
        ranks.barrier();
        let start = Instant::now();
        run::run(&request.run(work, Vec::new()), &stopwatch)?;
        ranks.barrier();
        let seconds = start.elapsed().as_secs_f64();
        let spent = Spent { seconds, energy: meter.energy(ranks), step: stopwatch.parts() };
        let figure = check.map(|check| figure(request, work, spent, check, ranks.size()));
        figures.extend(agree_in_run(ranks, figure.transpose())?);
    }
    let published = (ranks.rank() == 0).then(|| {
        let figure = FigureOfMerit::median(figures);
        let json = format!("{:#}\n", json!(figure));
        write_atomic(&request.folder("bench.json"), json.as_bytes())?;
        print_text(&if request.json { json } else { figure.text() })
    });
    agree_in_run(ranks, published.transpose()).map(drop)
}

/// Takes the recorded steps and prints how they differ.
///
/// # Errors
/// As [`bench()`].
pub fn check_only(request: &BenchRequest, ranks: &dyn Collective) -> Outcome<()> {
    agree(ranks, request.begin(&[CHECK], ranks))?;
    let found = run_check(request, ranks)?;
    let printed = found.map(|found| {
        let result = json!({"definition": request.scale.definition(), "valid": true, "check": found});
        print_text(&if request.json { format!("{result:#}\n") } else { found.text() + "\n" })
    });
    agree_in_run(ranks, printed.transpose()).map(drop)
}

/// The check of the recorded steps, on the leading rank.
fn run_check(request: &BenchRequest, ranks: &dyn Collective) -> Outcome<Option<Check>> {
    let overrides = agree(ranks, request.scale.check_overrides())?;
    run::run(&RunRequest { scope: RunScope::Trainings, ..request.run(CHECK, overrides) }, ranks)?;
    let found = (ranks.rank() == 0).then(|| check(request.scale, &request.folder(CHECK)));
    agree_in_run(ranks, found.transpose())
}

/// What the work has taken.
struct Spent {
    seconds: f64,
    energy: Energy,
    step: StepParts,
}

fn figure(
    request: &BenchRequest,
    name: &str,
    spent: Spent,
    check: Check,
    ranks: usize,
) -> Result<FigureOfMerit> {
    let Spent { seconds, energy, step } = spent;
    let work = request.folder(name);
    let training = training(&work)?;
    check_learned(&training)?;
    let phases = phase_seconds(&work)?;
    let manifest = manifest::read_whole(&RunFolder::new(&work))?.unwrap_or_default();
    let provenance = &manifest["provenance"];
    let batch = manifest["configuration"]["suite"]["train"]["batch"].as_f64().unwrap_or(f64::NAN);
    let views = 2.0 * training.step as f64 * batch;
    Ok(FigureOfMerit {
        definition: request.scale.definition(),
        run: name.to_owned(),
        seconds,
        seconds_of_repeats: vec![seconds],
        valid: true,
        parts: Parts::new(seconds, phases, step, training.seconds),
        wh_per_million_images: energy.per_million(views),
        energy,
        images: views,
        images_per_second_per_device: views / training.seconds / ranks as f64,
        check,
        ranks,
        device: provenance["device"].as_str().unwrap_or_default().to_owned(),
        threads: provenance["threads"].as_u64().unwrap_or_default() as usize,
        precision: number_type(&work)?.name().to_owned(),
    })
}
