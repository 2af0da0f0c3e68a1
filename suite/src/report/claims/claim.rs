//! A claim, and the claims of a data set's report.

use std::collections::BTreeSet;

use serde::Serialize;

use super::listed::{ListedOrder, ListedOwn, listed};
use crate::registry::{SEGMENTATION_TABLE, TRANSFER_TABLE, TaskFamily};
use crate::report::context::{ReportContext, TransferColumn};
use crate::report::paper_tables::{self, Reported, reported, same_name};
use crate::report::values::Quantity;
use crate::suite_file::names::slug;
use crate::suite_file::own_claims::{MEAN, OwnClaim};
use crate::suite_file::scale::Scale;

/// The claim that one row's value is above another's.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Short name, unique within the report of a data set, such as `table4-color-ours-above-sie-all`.
    pub id: String,
    /// Who claims it. The claims of a table and family are corrected together.
    pub family: ClaimFamily,
    /// Number of the paper's table; `None` for claims of the suite file.
    pub table: Option<u8>,
    /// The data set, if it is not the one that was trained on.
    pub data_set: Option<String>,
    /// `rotation`, `mean`, `linear transfer`, ...
    pub task: String,
    /// `r2_per_output`, `top1`, ...
    pub metric: String,
    /// The row that is claimed to be above.
    pub first: String,
    /// The row that is claimed to be below.
    pub second: String,
    /// Difference that must be exceeded.
    pub margin: f64,
    /// The paper's values, if the claim is the paper's.
    pub paper: Option<PaperOrder>,
    /// What is measured: one quantity, or several whose mean over the columns is meant.
    pub columns: Vec<Quantity>,
}

/// Who makes a claim, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimFamily {
    /// The paper's text or tables.
    Paper,
    /// This suite: a few means over the equivariance columns, fixed before the runs.
    Primary,
    /// This suite: what the reconstruction adds in every column.
    Ablation,
    /// The user's suite file.
    Own,
}

/// An order of the paper's tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperOrder {
    /// The first row's value.
    pub first: f64,
    /// The second row's value.
    pub second: f64,
    /// Whether the paper's text states the order; else only its table shows it.
    pub stated: bool,
    /// Whether the difference exceeds the sum of the paper's two standard deviations; `None` if either is not
    /// given.
    pub beyond_spread: Option<bool>,
}

impl PaperOrder {
    /// The first value minus the second.
    pub fn difference(&self) -> f64 {
        self.first - self.second
    }
}

impl Claim {
    /// Name of the column that the claim is about.
    pub fn column_name(&self) -> String {
        match &self.data_set {
            Some(set) if self.task == TaskFamily::Segmentation.name() => format!("{set} {}", self.metric),
            Some(set) => set.clone(),
            None => self.task.clone(),
        }
    }

    /// The claimed order: `Ours > VICReg`, `Ours > VICReg by 0.1`.
    pub fn order(&self) -> String {
        let margin = if self.margin == 0.0 { String::new() } else { format!(" by {}", self.margin) };
        format!("{} > {}{margin}", self.first, self.second)
    }
}

/// Every claim that a run of this data set may settle: those of the paper's tables that the suite mirrors, in
/// the order of `claims.toml`, then this suite's, then those of the suite file. A claim applies even if the
/// run lacks its rows or its column; it is then not measured.
pub fn applicable(context: &ReportContext) -> Vec<Claim> {
    let tables = context.mirrored();
    let orders = listed().orders.iter().filter(|order| tables.contains(&order.table));
    let paper = orders.flat_map(|order| of_paper(order, context));
    let own = listed().own.iter().flat_map(|own| of_suite(own, &tables, context));
    let mut of_suite: Vec<Claim> = own.collect();
    of_suite.sort_by_key(|claim| (claim.table, claim.family));
    let of_user = context.claims.iter().enumerate().map(|(i, claim)| of_user(i + 1, claim, context));
    paper.chain(of_suite).chain(of_user).collect()
}

/// The claims of an order, one per column.
fn of_paper(order: &ListedOrder, context: &ReportContext) -> Vec<Claim> {
    let lines = reported(order.table);
    let line = |row: &str, column: &str| {
        let found = lines.iter().find(|line| line.method == row && line.column() == column);
        found.expect("claims.toml names rows and columns of tables.csv, and is tested")
    };
    let claim = |column: &String| {
        let (first, second) = (line(&order.first, column), line(&order.second, column));
        let spread = first.std.zip(second.std).map(|(first, second)| first + second);
        let paper = PaperOrder {
            first: first.value,
            second: second.value,
            stated: order.stated.is_some(),
            beyond_spread: spread.map(|spread| first.value - second.value > spread),
        };
        let quantity = quantity(first, context);
        Claim {
            paper: Some(paper),
            ..of_column(ClaimFamily::Paper, order.table, quantity, &order.first, &order.second)
        }
    };
    order.columns.iter().map(claim).collect()
}

/// The quantity of a run that is held against a line of the paper's tables. In a reduced run a part of a data
/// set stands for it (`DTD-10` for DTD), and any scenes stand for those of the only data set with masks.
fn quantity(line: &Reported, context: &ReportContext) -> Quantity {
    let reduced = context.scale == Scale::Reduced;
    let is_part = |set: &str| reduced && set.starts_with(&format!("{}-", line.dataset));
    match line.table {
        TRANSFER_TABLE => {
            let sets = || context.transfers.iter();
            let found = sets().find(|column| same_name(&column.dataset, &line.dataset));
            match found.or_else(|| sets().find(|column| is_part(&column.dataset))) {
                Some(column) => column.quantity(),
                None => Quantity::on(&line.dataset, &line.task, TaskFamily::LinearTransfer.headline().metric),
            }
        }
        SEGMENTATION_TABLE => {
            let sets = || context.segmentations.iter();
            let found = sets().find(|set| same_name(set, &line.dataset));
            let set = found.or_else(|| sets().next().filter(|_| reduced)).unwrap_or(&line.dataset);
            Quantity::on(set, &line.task, &line.metric)
        }
        number => Quantity::probed(&line.task, &paper_tables::metric(number, &line.task)),
    }
}

/// A claim about one column, without values of the paper.
fn of_column(family: ClaimFamily, table: u8, column: Quantity, first: &str, second: &str) -> Claim {
    let name = match table {
        TRANSFER_TABLE => column.set.as_deref().unwrap_or_default(),
        SEGMENTATION_TABLE => &column.metric,
        _ => &column.task,
    };
    Claim {
        id: slug(&format!("table{table} {name} {first} above {second}")),
        family,
        table: Some(table),
        data_set: column.set.clone(),
        task: column.task.clone(),
        metric: column.metric.clone(),
        first: first.to_owned(),
        second: second.to_owned(),
        margin: 0.0,
        paper: None,
        columns: vec![column],
    }
}

/// This suite's claims for the tables that a run mirrors.
fn of_suite(own: &ListedOwn, mirrored: &BTreeSet<u8>, context: &ReportContext) -> Vec<Claim> {
    let of_table = |table: u8| {
        let of_second = move |second: &String| {
            let claim = |family, column| of_column(family, table, column, &own.first, second);
            let columns = columns_of_table(table, context);
            match columns.first() {
                Some(column) if own.mean => {
                    let mean = Quantity { task: MEAN.to_owned(), ..column.clone() };
                    vec![Claim { columns, ..claim(ClaimFamily::Primary, mean) }]
                }
                _ if own.mean => vec![],
                _ => columns.into_iter().map(|column| claim(ClaimFamily::Ablation, column)).collect(),
            }
        };
        own.seconds.iter().flat_map(of_second)
    };
    mirrored.iter().filter(|table| own.tables.contains(table)).flat_map(|table| of_table(*table)).collect()
}

/// The run's columns of the paper's table `number`: of transformations the headline, of the data sets of
/// transfer and segmentation those of their tables.
fn columns_of_table(number: u8, context: &ReportContext) -> Vec<Quantity> {
    match number {
        TRANSFER_TABLE | SEGMENTATION_TABLE => paper_tables::quantities(number, context),
        _ => equivariance_columns(context, TaskFamily::Transformation.headline().metric),
    }
}

fn equivariance_columns(context: &ReportContext, metric: &str) -> Vec<Quantity> {
    let tasks = context.tasks.iter().filter(|task| TaskFamily::of_task(task) == TaskFamily::Transformation);
    tasks.map(|task| Quantity::probed(task, metric)).collect()
}

/// The suite file's claim number `number`.
fn of_user(number: usize, own: &OwnClaim, context: &ReportContext) -> Claim {
    let OwnClaim { first, second, task, margin, .. } = own;
    let headline = own.family().headline().metric;
    let metric = own.metric.as_deref();
    let columns = match own.family() {
        TaskFamily::Transformation if task == MEAN => {
            equivariance_columns(context, metric.unwrap_or(headline))
        }
        TaskFamily::LinearTransfer => {
            let of_set = |column: &TransferColumn| {
                Quantity::on(&column.dataset, task, metric.unwrap_or(&column.metric))
            };
            context.transfers.iter().map(of_set).collect()
        }
        TaskFamily::Segmentation => {
            let sets = context.segmentations.iter();
            sets.map(|set| Quantity::on(set, task, metric.unwrap_or(headline))).collect()
        }
        _ => vec![Quantity::probed(task, metric.unwrap_or(headline))],
    };
    let metric = metric.unwrap_or(headline).to_owned();
    Claim {
        id: slug(&format!("own{number} {task} {first} above {second}")),
        family: ClaimFamily::Own,
        table: None,
        data_set: None,
        task: task.clone(),
        metric,
        first: first.clone(),
        second: second.clone(),
        margin: *margin,
        paper: None,
        columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::suite_file::plan::Row;

    /// A full run that mirrors table `number`, with the paper's data sets.
    fn context(number: u8) -> ReportContext {
        let lines = reported(number);
        let mut tasks: Vec<&str> = lines.iter().map(|line| line.task.as_str()).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let mut sets: Vec<&str> = lines.iter().map(|line| line.dataset.as_str()).collect();
        sets.sort_unstable();
        sets.dedup();
        let base = ReportContext {
            table: Some(number),
            scale: Scale::Full,
            ..fixture::context(if number < TRANSFER_TABLE { &tasks } else { &[] }, &[])
        };
        let column = |set: &&str| TransferColumn { dataset: (*set).to_owned(), metric: "top1".to_owned() };
        match number {
            TRANSFER_TABLE => ReportContext { transfers: sets.iter().map(column).collect(), ..base },
            SEGMENTATION_TABLE => ReportContext { segmentations: vec![sets[0].to_owned()], ..base },
            _ => base,
        }
    }

    fn of_family(number: u8, family: ClaimFamily) -> Vec<Claim> {
        let mut claims = applicable(&context(number));
        claims.retain(|claim| claim.family == family);
        claims
    }

    #[test]
    fn every_order_of_the_paper_is_that_of_its_table_and_stands_once() {
        for number in 1..=6 {
            let claims = of_family(number, ClaimFamily::Paper);
            let ids: BTreeSet<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
            assert_eq!(ids.len(), claims.len(), "table {number}");
            for claim in &claims {
                let paper = claim.paper.unwrap();
                assert!(
                    paper.difference() > 0.0,
                    "{}: {} is not above {}",
                    claim.id,
                    paper.first,
                    paper.second
                );
                let value = |row: &str| {
                    let lines = reported(number);
                    let found = lines.iter().find(|line| line.method == row && line.is_of(&claim.columns[0]));
                    found.unwrap().value
                };
                assert_eq!(
                    (paper.first, paper.second),
                    (value(&claim.first), value(&claim.second)),
                    "{}",
                    claim.id
                );
            }
        }
    }

    #[test]
    fn all_rows_parse() {
        for number in 1..=6 {
            for claim in applicable(&context(number)) {
                for row in [&claim.first, &claim.second] {
                    assert_eq!(row.parse::<Row>().unwrap().to_string(), *row);
                }
            }
        }
    }

    /// And so are, in every column of Tables 2 and 4 that one SIE was trained for, that SIE and SIE(all).
    #[test]
    fn ours_is_ordered_with_every_other_row_in_every_column() {
        for number in 1..=6 {
            let claims = of_family(number, ClaimFamily::Paper);
            let ordered = |a: &str, b: &str, column: &Reported| {
                let of_rows = |claim: &&Claim| {
                    [(a, b), (b, a)].contains(&(claim.first.as_str(), claim.second.as_str()))
                };
                claims.iter().filter(of_rows).any(|claim| column.is_of(&claim.columns[0]))
            };
            let lines = reported(number);
            for line in lines.iter().filter(|line| line.method != "Ours") {
                assert!(ordered("Ours", &line.method, line), "{line:?}");
            }
            let short = |task: &str| match task {
                "rotation" => "rot".to_owned(),
                "translation" => "trans".to_owned(),
                task => task.to_owned(),
            };
            let all = || lines.iter().filter(|line| line.method == "SIE(all)");
            for line in all().filter(|_| [2, 4].contains(&number)) {
                let own = format!("SIE({})", short(&line.task));
                assert!(ordered(&own, "SIE(all)", line), "{own}: {line:?}");
            }
        }
    }

    #[test]
    fn what_the_text_gets_wrong_stands_as_the_tables_have_it() {
        let find = |id: &str| {
            let all = (1..=6).flat_map(|number| applicable(&context(number)));
            all.filter(|claim| claim.id == id).collect::<Vec<_>>()
        };
        for (id, stated, beyond_spread) in [
            ("table1-rotation-sie-rot-above-ours", true, None),
            ("table1-rotation-ours-above-sie-rot-color", false, None),
            ("table2-translation-sie-all-above-ours", false, Some(true)),
            ("table2-flip-ours-above-sie-all", true, Some(false)),
            ("table4-rotation-sie-all-above-ours", false, None),
            ("table5-pets-sie-all-above-ours", true, Some(true)),
            ("table6-miou-ours-above-supervised", true, None),
        ] {
            let [claim] = &find(id)[..] else { panic!("{id}") };
            let paper = claim.paper.unwrap();
            assert_eq!((paper.stated, paper.beyond_spread), (stated, beyond_spread), "{id}");
        }
    }

    #[test]
    fn table_1_is_about_pooled_r2_and_this_suites_claims_about_the_headline() {
        let claims = applicable(&context(1));
        let rotation = claims.iter().find(|claim| claim.task == "rotation").unwrap();
        assert_eq!(rotation.columns, [Quantity::probed("rotation", "r2_pooled")]);
        let mean = claims.iter().find(|claim| claim.family == ClaimFamily::Primary).unwrap();
        assert_eq!(mean.order(), "Ours > Ours, no reconstruction");
        assert_eq!(mean.columns, ["color", "rotation"].map(|task| Quantity::probed(task, "r2_per_output")));
        let columns: Vec<String> =
            of_family(1, ClaimFamily::Ablation).iter().map(Claim::column_name).collect();
        assert_eq!(columns, ["color", "rotation"]);
    }

    #[test]
    fn only_a_reduced_run_takes_other_data_for_the_papers() {
        let set =
            |dataset: &str, metric: &str| TransferColumn { dataset: dataset.into(), metric: metric.into() };
        let mut context = ReportContext {
            transfers: vec![set("cifar-10", "top1"), set("DTD-10", "mean_per_class")],
            segmentations: vec!["CamVid".to_owned()],
            ..fixture::context(&[], &[])
        };
        let columns = |context: &ReportContext| -> BTreeSet<String> {
            let claims = applicable(context).into_iter().filter(|claim| claim.second == "SIE(all)");
            claims.map(|claim| claim.column_name()).collect()
        };
        let reduced = columns(&context);
        assert!(
            reduced.contains("cifar-10") && reduced.contains("DTD-10") && reduced.contains("CamVid mIoU")
        );
        assert!(!reduced.contains("DTD") && reduced.contains("CIFAR100"), "{reduced:?}");
        context.scale = Scale::Full;
        let full = columns(&context);
        assert!(
            full.contains("cifar-10") && full.contains("DTD") && full.contains("ADE20K mIoU"),
            "{full:?}"
        );
    }

    #[test]
    fn the_users_claims_come_last_and_need_no_table() {
        let own = |task: &str, metric: Option<&str>, margin| OwnClaim {
            first: "Ours".to_owned(),
            second: "Mine".to_owned(),
            task: task.to_owned(),
            metric: metric.map(str::to_owned),
            margin,
        };
        let context = ReportContext {
            claims: vec![
                own("classification", None, 0.0),
                own(MEAN, Some("r2_per_output_equi"), 0.1),
                own("linear transfer", None, 0.0),
            ],
            ..fixture::context(&["classification", "rotation", "color"], &[])
        };
        let claims = applicable(&context);
        assert_eq!(claims[0].columns, [Quantity::probed("classification", "top1")]);
        let equi = ["rotation", "color"].map(|task| Quantity::probed(task, "r2_per_output_equi"));
        assert_eq!((&claims[1].columns[..], claims[1].order().as_str()), (&equi[..], "Ours > Mine by 0.1"));
        assert!(claims[2].columns.is_empty(), "the suite has no set to transfer to");
        let ids: Vec<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
        assert_eq!(ids[..2], ["own1-classification-ours-above-mine", "own2-mean-ours-above-mine"]);
    }
}
