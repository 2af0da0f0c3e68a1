//! The anchor of a series: runs that do not move with the weeks, to compare with beside the newest one.

use std::str::FromStr;

use anyhow::{Result, bail};

use super::headlines::Headlines;
use super::rates::Rate;
use super::record::{Baseline, Record};
use super::{ComparedMetric, Thresholds, defined_alike, quality, same_hardware};

/// The runs that a series is anchored at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The run in the folder of this name.
    Run(String),
    /// The first runs: the median of each value.
    First(usize),
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Anchor, String> {
        match text.strip_prefix("first:").map(str::parse) {
            None => Ok(Anchor::Run(text.to_owned())),
            Some(Ok(count)) if count > 0 => Ok(Anchor::First(count)),
            Some(_) => Err("expected the name of a recorded run, or first:K".to_owned()),
        }
    }
}

/// Compares the candidate with the anchor of a series, as `compare` does with its newest run. Where a new
/// series begins with the candidate, its first runs are none yet, and nothing is compared.
///
/// # Errors
/// No series; a run that is not in it or is defined in another way; values that are not finite.
pub fn against_anchor(
    baseline: &Baseline,
    candidate: &Record,
    anchor: &Anchor,
    thresholds: &Thresholds,
) -> Result<Vec<ComparedMetric>> {
    let Baseline::Series(runs) = baseline else {
        bail!(
            "an anchor is one of several recorded runs, and the baseline is a single one\n\
               hint: name a folder that `eqr-bench record` fills"
        );
    };
    let mut alike = defined_alike(runs, candidate);
    let anchored: Vec<&Record> = match anchor {
        Anchor::Run(name) => alike.filter(|run| run.name == *name).collect(),
        Anchor::First(count) => alike.by_ref().take(*count).collect(),
    };
    if anchored.is_empty() {
        if let Anchor::First(_) = anchor {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = defined_alike(runs, candidate).map(|run| run.name.as_str()).collect();
        bail!(
            "no anchor: the recorded runs with the definition of the candidate are [{}]\n\
             hint: --anchor with one of these names, or first:K",
            names.join(", ")
        );
    }
    let headlines = Headlines::medians(&anchored.iter().map(|run| &run.headlines).collect::<Vec<_>>());
    let mut notes = Vec::new();
    let mut metrics = quality(&headlines, &candidate.headlines, thresholds, &mut notes)?;
    let alike: Vec<&Record> =
        anchored.into_iter().filter(|run| same_hardware(run, candidate, &mut notes)).collect();
    for rate in Rate::ALL {
        metrics.extend(rate.compared_with_runs(&alike, candidate, thresholds)?);
    }
    for metric in &mut metrics {
        metric.series = "anchor";
        metric.name += ", against the anchor";
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::Anchor;

    #[test]
    fn an_anchor_is_a_name_or_a_number_of_runs() {
        assert_eq!("first:5".parse(), Ok(Anchor::First(5)));
        assert_eq!("2026-11-30".parse(), Ok(Anchor::Run("2026-11-30".to_owned())));
        assert!("first:0".parse::<Anchor>().is_err() && "first:x".parse::<Anchor>().is_err());
    }
}
