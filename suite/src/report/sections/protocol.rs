//! Every choice behind the numbers of a report: the resolved keys of the suite, and what is the same for
//! every suite.

use eqr_probes::sequential::Looks;
use serde_json::Value;

use super::section::Section;
use crate::report::context::{Choice, ReportContext};
use crate::report::table::{Layout, Role, Row, Table, TableEntry};
use crate::report::values::Values;
use crate::run_folder::json_leaves::{Leaf, Lists, leaves};

/// What is the same for every suite.
const FIXED: [(&str, &str); 8] = [
    ("encoders", "frozen; read at the end of their training, none is chosen by a test score"),
    (
        "R2",
        "per output and averaged (the headline), and pooled over outputs (SIE's definition); of a multilayer perceptron \
         on the features of both views, on test pairs; a constant predictor reads 0 or less",
    ),
    (
        "pairs of the probes",
        "renders: drawn anew in each epoch of the perceptron; statistics, linear probe and train R2 from the \
         first epoch's; photographs: two draws an image, kept; features and targets standardised by the training \
         pairs",
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
        "multinomial logistic regression, 45 strengths of the l2 penalty from 1e-6 to 1e5, chosen on the validation \
         part, fitted again with it",
    ),
    (
        "segmentation",
        "a head on the token map of the frozen encoder, sliding windows, void pixels left out; mIoU, mAcc, aAcc over the \
         test split",
    ),
];

/// The suite's choices, one line per section, followed by what is the same for every suite.
pub fn choices(suite: &Value, looks: Option<Looks>, precision: &str) -> Vec<Choice> {
    let of_training = ["data", "transforms", "model", "train"].map(|key| (key, &suite[key]));
    let of_measuring = ["probe", "transfer", "segmentation"].map(|key| (key, &suite[key]));
    let key_and_value = |leaf: &Leaf| {
        let words = leaf.words();
        (!words.is_empty()).then(|| format!("{} = {}", leaf.path.join("."), words.join(" ")))
    };
    let line = |(key, value): (&str, &Value)| {
        let keys: Vec<String> = leaves(value, Lists::Entered).iter().filter_map(key_and_value).collect();
        (!keys.is_empty()).then(|| (key.to_owned(), keys.join(", ")))
    };
    let seeds = ("pretraining seeds".to_owned(), seeds(suite, looks));
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

fn seeds(suite: &Value, looks: Option<Looks>) -> String {
    let first_seed = suite["first_seed"].as_u64().unwrap_or(0);
    let first = format!("{first_seed} to {}", first_seed + suite["seeds"].as_u64().unwrap_or(1).max(1) - 1);
    let Some(looks) = looks else { return first };
    format!(
        "{first}, then one more at a time until every claim is decided, at most {} seeds; paired t tests after {} \
         to {} seeds share an error of 5% in proportion to n - 1",
        looks.last(),
        looks.first(),
        looks.last()
    )
}

/// The table of choices. It has no rows if the run does not record them.
pub fn tables(section: &Section, _values: &Values, context: &ReportContext) -> Vec<Table> {
    let row = |(choice, chosen): &Choice| Row {
        label: choice.clone(),
        role: Role::Reference,
        entries: vec![TableEntry::Text(chosen.clone())],
    };
    let rows = context.protocol.iter().map(row).collect();
    vec![Table {
        layout: Layout::Sentences,
        ..section.table("choice", vec!["chosen".to_owned()], rows, vec![])
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_of_the_suite_stands_with_its_value() {
        let suite = json!({"seeds": 3, "model": {"patch": 8, "head": {"hidden": 256}}, "transforms": {"active": ["rotation", "color"]},
            "transfer": [{"file": "a.h5"}, {"file": "b.h5"}], "train": {"init": null}});
        let all = choices(&suite, None, "bf16");
        let of = |key: &str| all.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_str());
        assert_eq!(of("model"), Some("head.hidden = 256, patch = 8"));
        assert_eq!(of("transforms"), Some("active = rotation color"));
        assert_eq!(of("transfer"), Some("1.file = a.h5, 2.file = b.h5"));
        assert_eq!(of("pretraining seeds"), Some("0 to 2"));
        assert_eq!(of("train"), None);
        let all = choices(&suite, Some(Looks::new(3, 8).unwrap()), "bf16");
        let (_, seeds) = all.iter().find(|(name, _)| name == "pretraining seeds").unwrap();
        assert!(seeds.starts_with("0 to 2, then one more") && seeds.contains("at most 8 seeds"), "{seeds}");
    }
}
