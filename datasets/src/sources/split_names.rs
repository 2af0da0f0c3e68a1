//! The names of split folders: the one table that every layout asks.

/// What a split is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SplitRole {
    Train,
    Val,
    Test,
}

/// The names of each split, in lower case and without `_set` or `set` at the end.
const NAMES: [(SplitRole, &[&str]); 3] = [
    (SplitRole::Train, &["train", "training", "trn"]),
    (SplitRole::Val, &["val", "valid", "validation", "dev"]),
    (SplitRole::Test, &["test", "testing", "tst"]),
];

impl SplitRole {
    /// The role of a folder of this name.
    pub(super) fn of(folder: &str) -> Option<SplitRole> {
        let lower = folder.to_lowercase();
        let name = lower.strip_suffix("set").unwrap_or(&lower).trim_end_matches(['_', '-', ' ']);
        NAMES.iter().find(|(_, names)| names.contains(&name)).map(|(role, _)| *role)
    }

    /// Whether the name is that of a split, or would be without a number at its end, such as `test1`.
    pub(super) fn resembles(folder: &str) -> bool {
        let name = folder.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '_' | '-' | ' '));
        SplitRole::of(name).is_some()
    }

    /// Name of the split in a pack.
    pub(super) fn name(self) -> &'static str {
        match self {
            SplitRole::Train => "train",
            SplitRole::Val => "val",
            SplitRole::Test => "test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_many_names_and_classes_are_no_splits() {
        for (folder, role) in [
            ("train", Some(SplitRole::Train)),
            ("Train", Some(SplitRole::Train)),
            ("training_set", Some(SplitRole::Train)),
            ("trainset", Some(SplitRole::Train)),
            ("valid", Some(SplitRole::Val)),
            ("VALIDATION", Some(SplitRole::Val)),
            ("testing", Some(SplitRole::Test)),
            ("test-set", Some(SplitRole::Test)),
            ("test1", None),
            ("trains", None),
            ("sunset", None),
            ("set", None),
            ("", None),
        ] {
            assert_eq!(SplitRole::of(folder), role, "{folder}");
        }
        assert!(SplitRole::resembles("test1") && SplitRole::resembles("train_2"));
        assert!(!SplitRole::resembles("car1") && !SplitRole::resembles("1"));
    }
}
