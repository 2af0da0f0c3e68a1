//! A suite as a list of cells.

use eqr_models::MethodKind;

use crate::config::Suite;

/// An encoder of the run: a method with a pretraining seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The method.
    pub kind: MethodKind,
    /// Pretraining seed.
    pub seed: u64,
}

impl Entry {
    /// Name for files: `sie-rot-color-seed0`.
    pub fn slug(&self) -> String {
        let words = self.kind.to_string().to_lowercase();
        let words: Vec<&str> = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
        format!("{}-seed{}", words.join("-"), self.seed)
    }

    /// Id of the pretraining cell.
    pub fn pretrain_id(&self) -> String {
        format!("pretrain-{}", self.slug())
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

/// Every encoder of the suite, seeds outermost: an interrupted run has whole comparisons of its first seeds.
///
/// # Errors
/// An unknown method name.
pub fn entries(suite: &Suite) -> anyhow::Result<Vec<Entry>> {
    let kinds = suite.method_kinds()?;
    Ok((0..suite.seeds).flat_map(|seed| kinds.iter().map(move |kind| Entry { kind: kind.clone(), seed })).collect())
}

/// Steps after which an encoder of the curve is probed, the end excluded; empty without `train.probe_every`.
pub fn curve_steps(suite: &Suite, steps_per_epoch: u64) -> Vec<u64> {
    let Some(every) = suite.train.probe_every else { return Vec::new() };
    (1..suite.train.epochs).filter(|epoch| epoch.is_multiple_of(every)).map(|epoch| epoch * steps_per_epoch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_file_names_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for name in eqr_models::methods::known_names() {
            let slug = Entry { kind: name.parse().unwrap(), seed: 1 }.slug();
            assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{slug}");
            assert!(seen.insert(slug));
        }
    }
}
