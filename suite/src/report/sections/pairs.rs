//! The pairs of methods that are tested against each other.
//!
//! The pairs are derived from the methods, so that a new method is tested without a change here. Every
//! trained method is tested against its ablation, its controls, its baseline and the floor, an external row
//! against VICReg, the floor and its own floor, and the paper's method against every SIE. A suite may request
//! more pairs.

use eqr_models::MethodKind;

use crate::report::context::ReportContext;
use crate::report::table::Role;
use crate::suite_file::compared_pairs::ComparedPair;
use crate::suite_file::external_rows::floor_name;
use crate::suite_file::plan::method_name;

/// A row that competes, with its method if it is trained here.
struct Contestant<'a> {
    name: &'a str,
    kind: Option<MethodKind>,
}

impl Contestant<'_> {
    /// The method that it is compared with, beside its ablation and the floor.
    fn baseline(&self) -> Option<MethodKind> {
        self.kind.as_ref().map_or(Some(MethodKind::VICREG), MethodKind::baseline)
    }
}

/// The pairs among the rows of the report, each once.
pub fn pairs<'a>(context: &'a ReportContext) -> Vec<(&'a str, &'a str)> {
    let names = || context.methods.iter().map(String::as_str);
    let competing = names().filter(|name| Role::from_row(name) == Role::Contestant);
    let contestants: Vec<Contestant<'a>> =
        competing.map(|name| Contestant { name, kind: method_name(name).parse().ok() }).collect();
    let against = |other: fn(&Contestant) -> Option<MethodKind>| {
        let pair = |row: &Contestant<'a>| Some((row.name, named(&contestants, row, &other(row)?)?));
        contestants.iter().filter_map(pair).collect::<Vec<(&str, &str)>>()
    };
    let ours = contestants.iter().filter(|row| row.kind == Some(MethodKind::OURS));
    let sie = || contestants.iter().filter(|row| matches!(row.kind, Some(MethodKind::Sie(_))));
    let floor = names().filter(|name| Role::from_row(name) == Role::Floor);
    let requested =
        context.compare.iter().map(|ComparedPair { first, second }| (first.as_str(), second.as_str()));
    let requested = requested
        .filter(|(first, second)| names().any(|name| name == *first) && names().any(|name| name == *second));

    let mut pairs = against(|row| row.kind.as_ref().and_then(MethodKind::ablation));
    for row in &contestants {
        let controls = row.kind.as_ref().map(MethodKind::controls).unwrap_or_default();
        let control = |kind| Some((row.name, named(&contestants, row, &kind)?));
        pairs.extend(controls.into_iter().filter_map(control));
    }
    pairs.extend(against(|row| row.baseline()));
    let own_floor =
        |row: &Contestant<'a>| Some((row.name, names().find(|name| *name == floor_name(row.name))?));
    pairs.extend(contestants.iter().filter_map(own_floor));
    pairs.extend(ours.flat_map(|ours| sie().map(|sie| (ours.name, sie.name))));
    pairs.extend(floor.flat_map(|floor| contestants.iter().map(move |row| (row.name, floor))));
    for (first, second) in requested {
        if !pairs.contains(&(first, second)) && !pairs.contains(&(second, first)) {
            pairs.push((first, second));
        }
    }
    pairs
}

/// The row of method `kind` that `row` is compared with: the one with the same budget, or else with the usual
/// one.
fn named<'a>(contestants: &[Contestant<'a>], row: &Contestant, kind: &MethodKind) -> Option<&'a str> {
    let budget = |name: &str| name != method_name(name);
    let of_kind = || contestants.iter().filter(|other| other.kind.as_ref() == Some(kind));
    let same_budget = of_kind().find(|other| budget(other.name) == budget(row.name));
    same_budget.or_else(|| of_kind().find(|other| !budget(other.name))).map(|other| other.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_pair_of_the_claims_is_tested_once_and_every_method_against_the_floor() {
        let methods = [
            "Random init",
            "VICReg",
            "SIE(rot)",
            "SIE(rot+color)",
            "Ours",
            "Ours, no reconstruction",
            "Ours, other view 1",
            "Theirs",
            "Direct regression",
        ];
        let expected = [
            ("SIE(rot+color)", "SIE(rot)"),
            ("Ours", "Ours, no reconstruction"),
            ("Ours", "Ours, other view 1"),
            ("SIE(rot)", "VICReg"),
            ("SIE(rot+color)", "VICReg"),
            ("Ours", "VICReg"),
            ("Theirs", "VICReg"),
            ("Ours", "SIE(rot)"),
            ("Ours", "SIE(rot+color)"),
            ("VICReg", "Random init"),
            ("SIE(rot)", "Random init"),
            ("SIE(rot+color)", "Random init"),
            ("Ours", "Random init"),
            ("Ours, no reconstruction", "Random init"),
            ("Ours, other view 1", "Random init"),
            ("Theirs", "Random init"),
        ];
        assert_eq!(pairs(&fixture::context(&[], &methods)), expected);
        assert!(pairs(&fixture::context(&[], &["Ours"])).is_empty());
    }

    #[test]
    fn budgets_are_held_against_the_same_budget_where_there_is_one() {
        let methods = ["VICReg", "SIE(rot)", "SIE(rot), equal steps", "SIE(rot+blur), equal steps"];
        let expected = [
            ("SIE(rot+blur), equal steps", "SIE(rot), equal steps"),
            ("SIE(rot)", "VICReg"),
            ("SIE(rot), equal steps", "VICReg"),
            ("SIE(rot+blur), equal steps", "VICReg"),
        ];
        assert_eq!(pairs(&fixture::context(&[], &methods)), expected);
    }

    #[test]
    fn a_suite_asks_for_pairs_of_its_own() {
        let pair =
            |first: &str, second: &str| ComparedPair { first: first.to_owned(), second: second.to_owned() };
        let context = ReportContext {
            compare: vec![pair("Theirs", "SimCLR"), pair("VICReg", "Ours"), pair("Ours", "Supervised")],
            ..fixture::context(&[], &["VICReg", "SimCLR", "Ours", "Theirs"])
        };
        let expected = [("SimCLR", "VICReg"), ("Ours", "VICReg"), ("Theirs", "VICReg"), ("Theirs", "SimCLR")];
        assert_eq!(pairs(&context), expected);
    }
}
