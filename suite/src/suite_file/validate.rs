//! Checks of a suite that need no data.

use std::fmt::Display;

use anyhow::{Context, Result, bail, ensure};

use crate::suite_file::data_source::Data;
use crate::suite_file::names::file_name;
use crate::suite_file::plan::Row;
use crate::suite_file::probe::ReadoutHalf;
use crate::suite_file::suite::Suite;
use crate::suite_file::{counts, downstream_sets, external_rows};

impl Suite {
    /// Checks everything that can be checked without the data.
    ///
    /// # Errors
    /// The first value out of range, with what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.method_kinds()?;
        external_rows::validate(&self.rows, &self.methods)?;
        for pair in &self.compare {
            self.validate_pair("compare", &pair.first, &pair.second)?;
        }
        for claim in &self.claims {
            self.validate_pair("claim", &claim.first, &claim.second)?;
            claim.validate().with_context(|| format!("claim: `{}` above `{}`", claim.first, claim.second))?;
        }
        downstream_sets::validate(&self.transfer, &self.segmentation)?;
        if let Data::Solids { spec } = &self.data {
            let name = &spec.name;
            ensure!(!file_name(name).is_empty(), "data.spec.name = {name:?}: has neither letters nor digits");
            spec.validate().context("data.spec")?;
        }
        ensure_distinct("methods", &self.methods)?;
        counts::check(self)?;
        if self.probe.seeds == 0 && self.transfer.is_empty() && self.segmentation.is_empty() {
            bail!(
                "probe.seeds = 0, and there is neither `transfer` nor `segmentation`: nothing would be measured"
            );
        }
        let (lr, decay) = (self.train.lr, self.train.weight_decay);
        ensure!(lr > 0.0 && lr.is_finite(), "train.lr = {lr}: must be above 0");
        ensure!(decay >= 0.0 && decay.is_finite(), "train.weight_decay = {decay}: must be 0 or above");
        self.model.decoder.validate()?;
        self.model.loss.validate()?;
        let control = self
            .method_kinds()?
            .into_iter()
            .find(|kind| !kind.needs_targets() && kind.trains_on_known_units());
        let all_known = self.train.known_fraction.is_none_or(|fraction| fraction >= 1.0);
        if let Some(control) = control.filter(|_| all_known) {
            bail!(
                "methods: `{control}` trains on the known units, and train.known_fraction does not leave any out: \
                 the row would be the same as Ours\nhint: set train.known_fraction, or leave the row out"
            );
        }
        if let Some(fraction) = self.train.known_fraction {
            let valid = fraction > 0.0 && fraction <= 1.0;
            ensure!(valid, "train.known_fraction = {fraction}: must be above 0 and at most 1");
        }
        ensure_distinct("transforms.active", &self.transforms.active)?;
        ensure_distinct("probe.parts", &self.probe.parts)?;
        if !self.probe.parts.contains(&ReadoutHalf::All) {
            bail!(
                "probe.parts: `all` is missing, and the tables show it\nhint: parts = [\"all\", \"inv\", \"equi\"]"
            );
        }
        self.probe.regression.validate().context("probe.regression")?;
        self.probe.classification.validate().context("probe.classification")?;
        self.transforms.ranges.validate()?;
        Ok(())
    }
}

impl Suite {
    /// Checks that both names of a pair are known. The suite need not have both rows, because `--methods` may
    /// leave rows out.
    fn validate_pair(&self, key: &'static str, first: &str, second: &str) -> Result<()> {
        ensure!(first != second, "{key}: `{first}` is compared with itself\nhint: name two rows");
        for name in [first, second].into_iter().filter(|name| self.rows.iter().all(|row| row.name != *name)) {
            name.parse::<Row>().context(key)?;
        }
        Ok(())
    }
}

fn ensure_distinct<T: PartialEq + Display>(key: &str, list: &[T]) -> Result<()> {
    match list.iter().enumerate().find(|(i, item)| list[..*i].contains(item)) {
        Some((_, item)) => bail!("{key}: `{item}` is listed twice"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::suite_file::suite::Suite;

    #[test]
    fn pairs_may_name_rows_that_the_suite_leaves_out() {
        let pairs = "compare=[{first=\"Ours\", second=\"SIE(rot), equal steps\"}]";
        let suite = Suite::load("quickstart", &[pairs.into(), "methods=[\"VICReg\"]".into()]).unwrap();
        assert_eq!(suite.compare[0].second, "SIE(rot), equal steps");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (assignment, message) in [
            ("train.batch=0", "train.batch = 0: must be at least 2"),
            ("train.lr=0", "train.lr = 0: must be above 0"),
            ("methods=[\"VICReg\", \"VICReg\"]", "methods: `VICReg` is listed twice"),
            ("transforms.active=[\"flip\", \"flip\"]", "transforms.active: `flip` is listed twice"),
            ("probe.parts=[\"all\", \"inv\", \"inv\"]", "probe.parts: `inv` is listed twice"),
            ("probe.parts=[\"inv\"]", "probe.parts: `all` is missing"),
            ("model.loss.temperature=0", "model.loss.temperature = 0: must be above 0"),
            ("model.loss.barlow_lambda=-1", "model.loss.barlow_lambda = -1: must be 0 or above"),
            ("model.loss.ssl=\"simclrr\"", "did you mean `simclr`"),
            ("methods=[\"Ours, known part\"]", "train.known_fraction does not leave any out"),
            ("train.ceiling_epochs=0", "train.ceiling_epochs = 0: must be at least 1"),
            ("train.known_fraction=0", "train.known_fraction = 0: must be above 0 and at most 1"),
            ("train.known_fraction=1.5", "at most 1"),
            ("compare=[{first=\"Ours\", second=\"VICRge\"}]", "did you mean `VICReg`"),
            ("compare=[{first=\"Ours\", second=\"Ours\"}]", "compare: `Ours` is compared with itself"),
            ("compare=[{first=\"Ours\", secnd=\"VICReg\"}]", "did you mean `second`"),
            ("claim=[{first=\"Ours\", second=\"VICRge\", task=\"color\"}]", "did you mean `VICReg`"),
            ("claim=[{first=\"Ours\", second=\"Ours\", task=\"color\"}]", "claim: `Ours` is compared with"),
            ("claim=[{first=\"Ours\", second=\"VICReg\"}]", "missing field `task`"),
            ("claim=[{first=\"Ours\", second=\"VICReg\", task=\"colour\"}]", "did you mean `color`"),
            ("claim=[{first=\"Ours\", second=\"VICReg\", task=\"mean\", margin=nan}]", "margin = NaN"),
            ("claim=[{first=\"Ours\", second=\"VICReg\", task=\"color\", margn=1}]", "did you mean `margin`"),
            (
                "claim=[{first=\"Ours\", second=\"VICReg\", task=\"color\", metric=\"r2_per_outputs\"}]",
                "claim: `Ours` above `VICReg`: unknown metric `r2_per_outputs`\nhint: did you mean `r2_per_output`",
            ),
        ] {
            let found = format!("{:#}", Suite::load("quickstart", &[assignment.into()]).unwrap_err());
            assert!(found.contains(message), "{found}");
        }
    }
}
