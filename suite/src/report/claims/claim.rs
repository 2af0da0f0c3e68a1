//! A claim, and the claims of a data set's report.

use std::collections::BTreeSet;

use serde::Serialize;

use super::listed::{ListedOrder, ListedOwn, listed};
use crate::registry::{SEGMENTATION_TABLE, TRANSFER_TABLE, TaskFamily, shown_in};
use crate::report::context::{ReportContext, TransferColumn};
use crate::report::paper_tables::{self, Reported, reported, same_name};
use crate::report::values::Quantity;
use crate::suite_file::names::file_name;
use crate::suite_file::own_claims::{MEAN, OwnClaim};

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
    /// The claim in words: `rotation: Ours > VICReg`.
    pub fn label(&self) -> String {
        let column = match &self.data_set {
            Some(set) if self.task == TaskFamily::Segmentation.name() => format!("{set} {}", self.metric),
            Some(set) => set.clone(),
            None => self.task.clone(),
        };
        let margin = if self.margin == 0.0 { String::new() } else { format!(" by {}", self.margin) };
        format!("{column}: {} > {}{margin}", self.first, self.second)
    }
}

/// Every claim that a run of this data set may settle: those of the paper's tables that the suite mirrors, in
/// the order of `claims.toml`, then this suite's, then those of the suite file. A claim applies even if the
/// run lacks its rows or its column; it is then not measured.
pub fn applicable(context: &ReportContext) -> Vec<Claim> {
    let tables = context.mirrored();
    let listed = listed();
    let orders = listed.orders.iter().filter(|order| tables.contains(&order.table));
    let paper = orders.flat_map(|order| of_paper(order, context));
    let own = listed.own.iter().flat_map(|own| of_suite(own, &tables, context));
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

/// The quantity of a run that is held against a line of the paper's tables.
fn quantity(line: &Reported, context: &ReportContext) -> Quantity {
    match line.table {
        TRANSFER_TABLE => {
            let found = context.transfers.iter().find(|column| same_name(&column.dataset, &line.dataset));
            match found {
                Some(column) => in_transfer(column),
                None => Quantity::on(&line.dataset, &line.task, TaskFamily::LinearTransfer.headline().metric),
            }
        }
        SEGMENTATION_TABLE => {
            let set = context.segmentations.iter().find(|set| same_name(set, &line.dataset));
            Quantity::on(set.unwrap_or(&line.dataset), &line.task, &line.metric)
        }
        number => Quantity::probed(&line.task, &paper_tables::metric(number, &line.task)),
    }
}

fn in_transfer(TransferColumn { dataset, metric }: &TransferColumn) -> Quantity {
    Quantity::on(dataset, TaskFamily::LinearTransfer.name(), metric)
}

/// A claim about one column, without values of the paper.
fn of_column(family: ClaimFamily, table: u8, column: Quantity, first: &str, second: &str) -> Claim {
    let name = match table {
        TRANSFER_TABLE => column.set.as_deref().unwrap_or_default(),
        SEGMENTATION_TABLE => &column.metric,
        _ => &column.task,
    };
    Claim {
        id: file_name(&format!("table{table} {name} {first} above {second}")),
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
        TRANSFER_TABLE => context.transfers.iter().map(in_transfer).collect(),
        SEGMENTATION_TABLE => {
            let of_set = |set: &String| {
                let quantity = |metric| Quantity::on(set, TaskFamily::Segmentation.name(), metric);
                shown_in("segmentation").map(|measure| quantity(measure.metric)).collect::<Vec<_>>()
            };
            context.segmentations.iter().flat_map(of_set).collect()
        }
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
        id: file_name(&format!("own{number} {task} {first} above {second}")),
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
