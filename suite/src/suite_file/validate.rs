//! Checks of a suite that need no data.

use std::fmt::Display;

use eqr_datasets::transforms::Border;
use eqr_models::MethodKind;

use crate::suite_file::data_source::Data;
use crate::suite_file::key_path::KeyPath;
use crate::suite_file::names::file_name;
use crate::suite_file::plan::Row;
use crate::suite_file::probe::ReadoutHalf;
use crate::suite_file::problem::{Problem, Problems};
use crate::suite_file::suggestions::parse_method;
use crate::suite_file::suite::Suite;
use crate::suite_file::transforms::Transforms;
use crate::suite_file::{downstream_sets, external_rows, plant};

impl Suite {
    /// Expands abbreviations, and checks each value by itself. Counts are in the ranges of the schema.
    pub(super) fn complete(&mut self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.0.extend(self.model.write_out_size());
        for (index, name) in self.methods.iter().enumerate() {
            problems.check(parse_method(name).map(drop), KeyPath::from("methods").join(index), "");
        }
        ensure_distinct(&mut problems, "methods", &self.methods);
        problems.0.extend(external_rows::problems(&self.rows, &self.methods));
        self.check_pairs(&mut problems);
        downstream_sets::check(&mut problems, &self.transfer, &self.segmentation);
        self.check_data_and_training(&mut problems);
        self.check_probes(&mut problems);
        self.check_xray(&mut problems);
        problems.0
    }

    fn check_pairs(&self, problems: &mut Problems) {
        for (index, pair) in self.compare.iter().enumerate() {
            self.check_pair(problems, KeyPath::from("compare").join(index), [&pair.first, &pair.second]);
        }
        for (index, claim) in self.claims.iter().enumerate() {
            let key = KeyPath::from("claim").join(index);
            self.check_pair(problems, key.clone(), [&claim.first, &claim.second]);
            let place = format!("claim: `{}` above `{}`: ", claim.first, claim.second);
            problems.check(claim.validate(), key, place);
        }
    }

    /// Checks that both names of a pair are known. The suite need not have both rows, because `--methods` may
    /// leave rows out.
    fn check_pair(&self, problems: &mut Problems, key: KeyPath, names: [&str; 2]) {
        let [first, second] = names;
        problems.ensure(first != second, key.clone(), || {
            format!("{key}: `{first}` is compared with itself\nhint: name two rows")
        });
        for name in names.into_iter().filter(|name| self.rows.iter().all(|row| row.name != *name)) {
            problems.check(name.parse::<Row>().map(drop), key.clone(), format!("{key}: "));
        }
    }

    fn check_data_and_training(&self, problems: &mut Problems) {
        if let Data::Solids { spec } = &self.data {
            let name = &spec.name;
            problems.ensure(!file_name(name).is_empty(), "data.spec.name", || {
                format!("data.spec.name = {name:?}: has neither letters nor digits")
            });
            problems.check(spec.validate(), "data.spec", "data.spec: ");
        }
        let (lr, decay) = (self.train.lr, self.train.weight_decay);
        problems
            .ensure(lr > 0.0 && lr.is_finite(), "train.lr", || format!("train.lr = {lr}: must be above 0"));
        problems.ensure(decay >= 0.0 && decay.is_finite(), "train.weight_decay", || {
            format!("train.weight_decay = {decay}: must be 0 or above")
        });
        if let Some(fraction) = self.train.known_fraction {
            problems.ensure(fraction > 0.0 && fraction <= 1.0, "train.known_fraction", || {
                format!("train.known_fraction = {fraction}: must be above 0 and at most 1")
            });
        }
        problems.check(self.model.decoder.validate(), "model.decoder", "");
        problems.check(self.model.loss.validate(), "model.loss", "");
        problems.check(self.transforms.ranges.validate(), "transforms.ranges", "transforms.ranges: ");
        ensure_distinct(problems, "transforms.active", &self.transforms.active);
    }

    fn check_probes(&self, problems: &mut Problems) {
        let probe = &self.probe;
        ensure_distinct(problems, "probe.parts", &probe.parts);
        problems.ensure(probe.parts.contains(&ReadoutHalf::All), "probe.parts", || {
            "probe.parts: `all` is missing, and the tables show it\nhint: parts = [\"all\", \"inv\", \"equi\"]".into()
        });
        problems.ensure(
            !probe.calibrate || self.model.out >= plant::CARRIED as i64,
            "probe.calibrate",
            || {
                format!(
                    "probe.calibrate: model.out = {}: must be at least {}",
                    self.model.out,
                    plant::CARRIED
                )
            },
        );
        problems.check(probe.regression.validate(), "probe.regression", "probe.regression: ");
        if let Some(shift) = &probe.shift {
            problems.check(shift.validate(), "probe.shift", "probe.shift: ");
            let active = &self.transforms.active;
            let idle = shift.transforms().find(|transform| !active.contains(transform));
            problems.0.extend(idle.map(|idle| {
                Problem::new(
                    "probe.shift",
                    format!("probe.shift: a range of {idle}, which is not in transforms.active"),
                )
            }));
            let Transforms { border, ranges, .. } = &self.transforms;
            let farther = shift.rotation.is_some_and(|[_, high]| high > ranges.rotation);
            let fits = *border != Border::Window || ranges.rotation >= 45.0 || !farther;
            problems.ensure(fits, "probe.shift", || {
                "probe.shift: the window is as large as the rotations of transforms.ranges allow, and larger ones \
                 do not fit it\nhint: transforms.border = \"reflection\"".into()
            });
        }
        problems.check(probe.classification.validate(), "probe.classification", "probe.classification: ");
    }

    fn check_xray(&self, problems: &mut Problems) {
        let Some(xray) = &self.xray else { return };
        problems.ensure(xray.probe.has_mlp() || !xray.trains_otherwise(), "xray", || {
            "xray.seeds, xray.epochs, xray.hidden: `probe = \"linear\"` has a closed form\n\
             hint: probe = \"mlp\" or \"both\""
                .into()
        });
    }

    /// Values that are fine by themselves and do not go together.
    pub(super) fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.ensure(!self.methods.is_empty() || !self.rows.is_empty(), "methods", || {
            "number of methods = 0, and there are no other rows: must be at least 1\n\
             hint: methods = [\"Random init\", \"VICReg\", \"Ours\"]"
                .into()
        });
        let measured = self.probe.seeds > 0 || !self.transfer.is_empty() || !self.segmentation.is_empty();
        problems.ensure(measured, "probe.seeds", || {
            "probe.seeds = 0, and there is neither `transfer` nor `segmentation`: nothing would be measured".into()
        });
        let all_known = self.train.known_fraction.is_none_or(|fraction| fraction >= 1.0);
        let is_control = |kind: &MethodKind| !kind.needs_targets() && kind.trains_on_known_units();
        for control in self.method_kinds().into_iter().flatten().filter(|kind| all_known && is_control(kind))
        {
            problems.0.push(Problem::new("methods", format!(
                "methods: `{control}` trains on the known units, and train.known_fraction does not leave any out: \
                 the row would be the same as Ours\nhint: set train.known_fraction, or leave the row out"
            )));
        }
        problems.0
    }
}

fn ensure_distinct<T: PartialEq + Display>(problems: &mut Problems, key: &str, list: &[T]) {
    for (index, item) in list.iter().enumerate().filter(|(index, item)| list[..*index].contains(item)) {
        problems
            .0
            .push(Problem::new(KeyPath::from(key).join(index), format!("{key}: `{item}` is listed twice")));
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
            ("probe.shift={rotation=[90, 45]}", "probe.shift: rotation = [90, 45]: expected [low, high]"),
            ("probe.shift={}", "probe.shift: no range: expected at least one"),
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
            ("claim=[{first=\"Ours\", second=\"VICReg\"}]", "`task` is missing"),
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
