//! The encoders of a suite, and the ids of their cells.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use anyhow::{Error, Result};
use eqr_models::MethodKind;

use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::names::file_name;
use crate::suite_file::suggestions::parse_method;
use crate::suite_file::suite::Suite;

/// How long a method trains if it uses only the known units (protocol section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// As many passes over its units as the other methods make over theirs. This is the headline result.
    EqualEpochs,
    /// As many steps as the other methods, that is, more passes over fewer units.
    EqualSteps,
}

/// A row of the tables: a method with its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub kind: MethodKind,
    /// Its budget.
    pub budget: Budget,
}

const EQUAL_STEPS: &str = ", equal steps";

/// The method's name, taken from a row's name.
pub fn method_name(row: &str) -> &str {
    row.strip_suffix(EQUAL_STEPS).unwrap_or(row)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = if self.budget == Budget::EqualSteps { EQUAL_STEPS } else { "" };
        write!(f, "{}{budget}", self.kind)
    }
}

impl FromStr for Row {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let method = method_name(name);
        let budget = if method == name { Budget::EqualEpochs } else { Budget::EqualSteps };
        Ok(Row { kind: parse_method(method)?, budget })
    }
}

/// The rows of a suite, in order. If only a fraction of the units is known, each method that needs known
/// units has a second row, trained for as many steps as the others.
///
/// # Errors
/// An unknown method name.
pub fn rows(suite: &Suite) -> Result<Vec<Row>> {
    let partly_known = suite.train.known_fraction.is_some_and(|fraction| fraction < 1.0);
    let rows_of_method = |kind: MethodKind| {
        let again = partly_known && kind.trains_on_known_units();
        let budgets = [Some(Budget::EqualEpochs), again.then_some(Budget::EqualSteps)];
        budgets.into_iter().flatten().map(move |budget| Row { kind: kind.clone(), budget })
    };
    Ok(suite.method_kinds()?.into_iter().flat_map(rows_of_method).collect())
}

/// An encoder of the run: a row with a pretraining seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderRun {
    /// Key of the data set, if the suite has several.
    pub data_set: Option<String>,
    /// Method and budget.
    pub row: Row,
    /// Pretraining seed.
    pub seed: u64,
}

impl EncoderRun {
    /// Name for files, such as `sie-rot-color-seed0`, preceded by the data set's key if there is one.
    pub fn slug(&self) -> String {
        let key = self.data_set.as_ref().map(|key| format!("{key}-")).unwrap_or_default();
        format!("{key}{}-seed{}", file_name(&self.row.to_string()), self.seed)
    }

    /// Id of the pretraining cell.
    pub fn pretrain_id(&self) -> String {
        pretrain_id(&self.slug())
    }

    /// Id of the final probe cell.
    pub fn probe_id(&self) -> String {
        format!("probe-{}", self.slug())
    }

    /// Id of the probe cell after `step` steps.
    pub fn probe_id_at(&self, step: u64) -> String {
        format!("probe-{}-step{step}", self.slug())
    }
}

/// Id of the pretraining cell of the training called `slug`.
pub fn pretrain_id(slug: &str) -> String {
    format!("pretrain-{slug}")
}

/// Every encoder of a sub-suite with these pretraining seeds, seed by seed, so that an interrupted run has
/// all methods for its first seeds.
///
/// # Errors
/// An unknown method name.
pub fn encoder_runs(SubSuite { key, suite }: &SubSuite, seeds: Range<u64>) -> Result<Vec<EncoderRun>> {
    let rows = rows(suite)?;
    let run = |seed, row: &Row| EncoderRun { data_set: key.clone(), row: row.clone(), seed };
    Ok(seeds.flat_map(|seed| rows.iter().map(move |row| run(seed, row))).collect())
}

/// Steps after which an encoder is probed for the curve of R2 against steps, the end excluded. Empty without
/// `train.probe_every`, and for rows of equal steps, which are not part of the curve.
pub fn curve_steps(suite: &Suite, budget: Budget, steps_per_epoch: u64) -> Vec<u64> {
    let Some(every) = suite.train.probe_every.filter(|_| budget == Budget::EqualEpochs) else {
        return Vec::new();
    };
    (1..suite.train.epochs)
        .filter(|epoch| epoch.is_multiple_of(every))
        .map(|epoch| epoch * steps_per_epoch)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_file_names_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for name in eqr_models::methods::method_names() {
            for (data_set, name) in [
                (None, name.clone()),
                (Some("solids".to_owned()), name.clone()),
                (None, format!("{name}{EQUAL_STEPS}")),
            ] {
                let slug = EncoderRun { data_set, row: name.parse().unwrap(), seed: 1 }.slug();
                assert!(
                    slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                    "{slug}"
                );
                assert!(seen.insert(slug));
            }
        }
    }

    #[test]
    fn rows_print_and_parse_as_themselves() {
        for name in ["Ours, no reconstruction", "SIE(all), equal steps", "Supervised, equal steps"] {
            assert_eq!(name.parse::<Row>().unwrap().to_string(), name);
        }
        assert!(", equal steps".parse::<Row>().is_err());
    }

    #[test]
    fn methods_that_need_known_units_have_two_rows_if_not_all_are_known() {
        let names = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&assignment| assignment.to_owned()).collect();
            let rows = rows(&Suite::load("cifar10-reduced", &overrides).unwrap()).unwrap();
            rows.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let methods = "methods=[\"VICReg\", \"SIE(all)\", \"Ours\"]";
        assert_eq!(names(&[methods]), ["VICReg", "SIE(all)", "Ours"]);
        assert_eq!(names(&[methods, "train.known_fraction=1"]), ["VICReg", "SIE(all)", "Ours"]);
        let twice = ["VICReg", "SIE(all)", "SIE(all), equal steps", "Ours"];
        assert_eq!(names(&[methods, "train.known_fraction=0.2"]), twice);
    }
}
