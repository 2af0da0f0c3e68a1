//! The fixed work of each scale. A definition has a version: times of different versions are not compared.

use anyhow::Result;

use crate::suite_file::overrides::Override;

/// Size of the fixed work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// Half a minute on two cores.
    Tiny,
    /// One node with GPUs.
    Node,
    /// Many nodes with GPUs.
    Cluster,
}

/// The steps whose losses are recorded: the network of the work, trained on fewer pairs.
#[derive(Clone, Copy, Debug)]
struct RecordedSteps {
    /// Pairs of a step.
    batch: i64,
    /// Objects of each of the 16 classes, some of which are held out. The others are one batch, and an epoch
    /// is one step.
    objects_per_class: i64,
    steps: i64,
}

/// A training that shows how steps scale over ranks.
#[derive(Clone, Copy, Debug)]
struct ShortTraining {
    /// Pairs of a step.
    batch: usize,
    objects_per_class: usize,
    epochs: usize,
}

impl Scale {
    /// All scales.
    pub const ALL: [Scale; 3] = [Scale::Tiny, Scale::Node, Scale::Cluster];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Tiny => "tiny",
            Scale::Node => "node",
            Scale::Cluster => "cluster",
        }
    }

    /// Raised by every change of the suite, of the recorded steps, or of what the time contains.
    fn version(self) -> u32 {
        match self {
            Scale::Tiny | Scale::Node | Scale::Cluster => 1,
        }
    }

    /// Name of the series that a time belongs to.
    pub fn definition(self) -> String {
        format!("{}-{}", self.name(), self.version())
    }

    /// The work as a suite.
    pub(super) fn suite(self) -> &'static str {
        match self {
            Scale::Tiny => include_str!("../../bench/tiny.toml"),
            Scale::Node => include_str!("../../bench/node.toml"),
            Scale::Cluster => include_str!("../../bench/cluster.toml"),
        }
    }

    fn recorded_steps(self) -> RecordedSteps {
        match self {
            Scale::Tiny => RecordedSteps { batch: 64, objects_per_class: 5, steps: 5 },
            Scale::Node => RecordedSteps { batch: 256, objects_per_class: 20, steps: 3 },
            Scale::Cluster => RecordedSteps { batch: 512, objects_per_class: 40, steps: 1 },
        }
    }

    /// What turns the suite into that of the recorded steps.
    pub(super) fn check_overrides(self) -> Result<Vec<Override>> {
        let RecordedSteps { batch, objects_per_class, steps } = self.recorded_steps();
        let set = |key, value: i64| Override::new("bench", key, value);
        Ok(vec![
            set("train.batch", batch)?,
            set("data.spec.objects_per_class", objects_per_class)?,
            set("train.epochs", steps)?,
        ])
    }

    fn short_training(self) -> ShortTraining {
        match self {
            Scale::Tiny => ShortTraining { batch: 64, objects_per_class: 40, epochs: 8 },
            Scale::Node => ShortTraining { batch: 256, objects_per_class: 400, epochs: 5 },
            Scale::Cluster => ShortTraining { batch: 1024, objects_per_class: 1600, epochs: 5 },
        }
    }

    /// Pairs of a step of a training that is `times` as wide as the short one.
    pub(super) fn short_batch(self, times: usize) -> usize {
        self.short_training().batch * times
    }

    /// What turns the suite into a training that is `times` as wide as the short one, in as many steps.
    pub(super) fn short_overrides(self, times: usize) -> Result<Vec<Override>> {
        self.overrides_for(times, self.short_training().epochs)
    }

    /// The same for one pass over the data.
    pub(super) fn warm_up_overrides(self, times: usize) -> Result<Vec<Override>> {
        self.overrides_for(times, 1)
    }

    fn overrides_for(self, times: usize, epochs: usize) -> Result<Vec<Override>> {
        let objects = self.short_training().objects_per_class * times;
        let set = |key, value: usize| Override::new("bench", key, i64::try_from(value)?);
        Ok(vec![
            set("train.batch", self.short_batch(times))?,
            set("data.spec.objects_per_class", objects)?,
            set("train.epochs", epochs)?,
        ])
    }

    /// Most ranks that can share a step: one pair each.
    pub(super) fn most_ranks(self) -> usize {
        self.recorded_steps().batch as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::data_source::Data;
    use crate::suite_file::suite::Suite;

    /// An epoch of the recorded steps is one step, so that each step is a point of the curve.
    #[test]
    fn works_are_valid_and_recorded_epochs_are_one_step() {
        for scale in Scale::ALL {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("suite.toml");
            std::fs::write(&file, scale.suite()).unwrap();
            let set: Vec<String> = scale
                .check_overrides()
                .unwrap()
                .iter()
                .map(|set| format!("{}={}", set.key, set.value))
                .collect();
            for set in [Vec::new(), set] {
                let suite = Suite::load(file.to_str().unwrap(), &set).unwrap();
                assert_eq!(suite.name, format!("bench-{}", scale.name()));
                let Data::Solids { spec } = &suite.data else { panic!("rendered data") };
                let train = 16 * (spec.objects_per_class - spec.held_out(spec.objects_per_class));
                assert!(set.is_empty() || train / suite.train.batch == 1, "{scale:?}");
                assert!(train >= suite.train.batch, "{scale:?}");
            }
        }
    }
}
