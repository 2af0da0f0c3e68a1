//! A run measures retrieval for methods with a predictor, on both splits.

use crate::common::run_of_four_methods;

/// Method, metric, value and direction of the run's retrieval rows.
fn rows(run: &std::path::Path) -> Vec<(String, String, f64, String)> {
    let mut reader = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    let rows =
        reader.records().map(Result::unwrap).filter(|row| &row[3] == "retrieval" && &row[9] == "fraction");
    rows.map(|row| (row[4].to_owned(), row[5].to_owned(), row[8].parse().unwrap(), row[10].to_owned()))
        .collect()
}

/// Objects have four views: for random ranks the mean of 1 / rank is 25/48, and every view is among the first
/// five.
#[test]
fn predictors_are_measured_on_both_splits() {
    let found = rows(run_of_four_methods());
    assert_eq!(found.len(), 2 * 2 * 6, "{found:?}");
    for (method, metric, value, better) in &found {
        assert!(method.starts_with("SIE(") && (0.0..=1.0).contains(value), "{method} {metric} {value}");
        assert_eq!(better == "lower", metric.starts_with("pre"), "{metric} {better}");
        let least = match metric.trim_end_matches("_train") {
            "hits_5" | "hits_10" => 1.0,
            "mrr" => 0.25,
            _ => 0.0,
        };
        assert!(*value >= least, "{method} {metric} {value}");
    }
    let table = std::fs::read_to_string(run_of_four_methods().join("tables/table-main.md")).unwrap();
    for objects in ["test", "training"] {
        assert!(table.contains(&format!("### Retrieval by the predictor, {objects} objects")), "{table}");
    }
    assert!(!table.contains("### Linear transfer"), "{table}");
}
