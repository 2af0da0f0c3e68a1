//! Every choice that the numbers of a report rest on: the suite's keys as they were resolved, and what is the same for every suite.

use serde_json::Value;

use super::ReportContext;
use super::leaves::{Leaf, leaves};
use super::table::{Role, Row, Section, Table, TableEntry};

/// A choice, and what was chosen.
pub type Choice = (String, String);

/// What no suite chooses otherwise, with the sections of the protocol that say more.
const FIXED: [(&str, &str); 7] = [
    ("encoders", "frozen; read at the end of their training, none is chosen by a test score"),
    (
        "R2",
        "per output and averaged (the headline), and pooled over outputs (SIE's definition); of a multilayer perceptron on the features of both \
         views, on test pairs; a constant predictor reads 0 or less",
    ),
    (
        "floor and ceiling",
        "the untrained encoder; an encoder trained end to end on the parameters that are asked for",
    ),
    (
        "spread",
        "sample standard deviation and 95% Student interval over pretraining seeds, each the mean over its probe seeds",
    ),
    (
        "tests",
        "two-sided t tests, paired by seed where both rows have the same seeds, else Welch's; Holm's correction within a table",
    ),
    (
        "linear transfer",
        "multinomial logistic regression, 45 strengths of the l2 penalty from 1e-6 to 1e5, chosen on the validation part, fitted again with it",
    ),
    (
        "segmentation",
        "a head on the token map of the frozen encoder, sliding windows, void pixels left out; mIoU, mAcc, aAcc over the test split",
    ),
];

/// What the suite chooses itself: one line a section, its keys in order.
pub fn choices(suite: &Value, precision: &str) -> Vec<Choice> {
    let of_training = ["data", "transforms", "model", "train"].map(|key| (key, &suite[key]));
    let of_measuring = ["probe", "transfer", "segmentation"].map(|key| (key, &suite[key]));
    let set = |leaf: &Leaf| format!("{} = {}", leaf.path.join("."), leaf.words.join(" "));
    let line = |(key, value): (&str, &Value)| {
        let keys: Vec<String> = leaves(value).iter().map(set).collect();
        (!keys.is_empty()).then(|| (key.to_owned(), keys.join(", ")))
    };
    let seeds =
        ("pretraining seeds".to_owned(), format!("0 to {}", suite["seeds"].as_u64().unwrap_or(1).max(1) - 1));
    let precision = (
        "precision".to_owned(),
        format!("{precision} in forward and backward passes; losses, statistics and the optimiser in fp32"),
    );
    let own = of_training
        .into_iter()
        .filter_map(line)
        .chain([seeds, precision])
        .chain(of_measuring.into_iter().filter_map(line));
    own.chain(FIXED.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))).collect()
}

/// The table of choices; without rows where the run does not say them.
pub fn table(context: &ReportContext) -> Table {
    let row = |(choice, chosen): &Choice| Row {
        label: choice.clone(),
        role: Role::Reference,
        entries: vec![TableEntry::Text(chosen.clone())],
    };
    Table {
        section: Section::Protocol,
        title: "Protocol: every choice behind these numbers".to_owned(),
        stub: "choice",
        columns: vec!["chosen".to_owned()],
        rows: context.protocol.iter().map(row).collect(),
        notes: vec![],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_of_the_suite_stands_with_its_value() {
        let suite = json!({"seeds": 3, "model": {"patch": 8, "head": {"hidden": 256}}, "transforms": {"active": ["rotation", "color"]},
            "transfer": [{"file": "a.h5"}, {"file": "b.h5"}], "train": {"init": null}});
        let all = choices(&suite, "bf16");
        let of = |key: &str| all.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_str());
        assert_eq!(of("model"), Some("head.hidden = 256, patch = 8"));
        assert_eq!(of("transforms"), Some("active = rotation color"));
        assert_eq!(of("transfer"), Some("1.file = a.h5, 2.file = b.h5"));
        assert_eq!(of("pretraining seeds"), Some("0 to 2"));
        assert_eq!(of("train"), None);
    }
}
