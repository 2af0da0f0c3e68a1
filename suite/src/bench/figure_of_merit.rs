//! The figure of merit: the time to complete the work, with what it is made of.

use std::fmt::Write;

use serde::Serialize;

use crate::bench::check::Check;
use crate::bench::finished_run::PhaseSeconds;
use crate::bench::stopwatch::StepParts;
use crate::cluster::energy::Energy;

/// The result of `bench`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FigureOfMerit {
    /// The series that the time belongs to.
    pub(super) definition: String,
    /// Folder of the run.
    pub(super) run: String,
    /// Time to complete the work; lower is better.
    pub(super) seconds: f64,
    /// The times of all repeats, in their order. `seconds` and everything else is of the one with their
    /// median.
    pub(super) seconds_of_repeats: Vec<f64>,
    /// Always true: a result that is not valid has no time.
    pub(super) valid: bool,
    pub(super) parts: Parts,
    /// Trained views per second of the training phase and per device.
    pub(super) images_per_second_per_device: f64,
    /// Energy during the work.
    pub(super) energy: Energy,
    /// The energy's sum for a million trained views; `None` without a sum.
    pub(super) wh_per_million_images: Option<f64>,
    /// Trained views.
    pub(super) images: f64,
    pub(super) check: Check,
    pub(super) ranks: usize,
    pub(super) device: String,
    pub(super) threads: usize,
    pub(super) precision: String,
}

/// Where the seconds went.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Parts {
    /// Rendering and opening the data.
    data: f64,
    #[serde(flatten)]
    step: StepParts,
    probe: f64,
    /// Checkpoints, checks and the report.
    other: f64,
}

impl Parts {
    /// The parts of `seconds`, of which `step_seconds` are steps of the training.
    pub(super) fn new(seconds: f64, phases: PhaseSeconds, step: StepParts, step_seconds: f64) -> Parts {
        let PhaseSeconds { data, probes: probe, .. } = phases;
        Parts {
            data,
            step: step.scaled_to(step_seconds),
            probe,
            other: seconds - data - step_seconds - probe,
        }
    }
}

impl FigureOfMerit {
    /// The figure with the median time; of an even number, the smaller of the two in the middle.
    ///
    /// # Panics
    /// Panics without figures.
    pub(super) fn median(mut figures: Vec<FigureOfMerit>) -> FigureOfMerit {
        let seconds_of_repeats = figures.iter().map(|figure| figure.seconds).collect();
        figures.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let median = figures.swap_remove((figures.len() - 1) / 2);
        FigureOfMerit { seconds_of_repeats, ..median }
    }

    /// The result as lines.
    pub(super) fn text(&self) -> String {
        let FigureOfMerit { definition, seconds, parts, check, ranks, device, threads, precision, .. } = self;
        let Parts { data, step, probe, other } = parts;
        let StepParts { transforms, encode, loss, reduce, optimise } = step;
        let mut text =
            format!("{definition}: {ranks} ranks, {device}, {threads} threads each, {precision}\n");
        let _ = writeln!(text, "time to complete: {seconds:.2} s{}", self.spread());
        let all = [
            ("data", data),
            ("transforms", transforms),
            ("encode", encode),
            ("loss", loss),
            ("reduce", reduce),
            ("optimise", optimise),
            ("probe", probe),
            ("other", other),
        ];
        for (name, part) in all {
            let _ = writeln!(text, "  {name:10} {part:9.2} s {:5.1} %", 100.0 * part / seconds);
        }
        let _ = writeln!(text, "images per second and device: {:.0}", self.images_per_second_per_device);
        let _ = writeln!(text, "{}", self.energy.text(self.images));
        let _ = writeln!(text, "{}", check.text());
        text
    }

    /// How far the repeats lie apart.
    fn spread(&self) -> String {
        let all = &self.seconds_of_repeats;
        if all.len() == 1 {
            return String::new();
        }
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        let percent = |seconds: f64| 100.0 * (seconds / self.seconds - 1.0);
        format!(
            " (median of {}: {least:.2} to {most:.2} s, {:+.1} to {:+.1} %)",
            all.len(),
            percent(least),
            percent(most)
        )
    }
}
