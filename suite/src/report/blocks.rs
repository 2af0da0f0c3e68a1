//! Methods and pretraining seeds as a two-way layout: the noise of all methods in one estimate.

use eqr_probes::block_analysis::BlockAnalysis;
use eqr_probes::stats::Difference;

use super::table::Role;
use super::values::Sample;

/// The methods of a column that share their pretraining seeds, and their analysis.
pub struct Blocks {
    /// Names of the methods.
    pub methods: Vec<String>,
    /// Sums of squares, the F test and the noise.
    pub analysis: BlockAnalysis,
}

impl Blocks {
    /// The contestants among `methods` that have the seeds of `reference`. `None` if they are fewer than
    /// three, for which the analysis is the paired t test, or have a single seed.
    pub fn new(
        methods: &[String],
        reference: &Sample,
        sample: impl Fn(&str) -> Option<Sample>,
    ) -> Option<Blocks> {
        let contestants = methods.iter().filter(|method| Role::from_row(method) == Role::Contestant);
        let samples = contestants.filter_map(|method| Some((method.clone(), sample(method)?)));
        let (methods, samples): (Vec<String>, Vec<Sample>) =
            samples.filter(|(_, sample)| sample.pairs_with(reference)).unzip();
        let values: Vec<Vec<f64>> = samples.iter().map(Sample::values).collect();
        let analysis = BlockAnalysis::from_values(&values).ok().filter(|_| methods.len() > 2)?;
        Some(Blocks { methods, analysis })
    }

    /// The first method minus the second; `None` if either is not among the methods.
    pub fn difference(&self, first: &str, second: &str) -> Option<Difference> {
        let place = |name: &str| self.methods.iter().position(|method| method == name);
        Some(self.analysis.difference(place(first)?, place(second)?))
    }
}
