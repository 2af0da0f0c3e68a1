//! The verdict on every claim of a report.
//!
//! The tests of a family (a paper's table, or the claims of one origin) are corrected together by Holm's
//! procedure at [`LEVEL`]. If the number of seeds depends on the verdicts, the tests are sequential.

use std::collections::BTreeMap;

use eqr_models::MethodKind;
use eqr_probes::stats::holm;

use super::claim::{Claim, applicable};
use crate::registry::{R2Metric, TaskFamily};
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::legend::LEVEL;
use crate::report::values::{Contrast, Quantity, Sample, Values};

/// What a run says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The difference is significantly above the margin.
    Reproduced,
    /// The difference is significantly below the margin.
    Contradicted,
    /// Measured and undecided, for example by a single seed.
    Open,
    /// A row or a column is not measured.
    NotMeasured,
}

impl Verdict {
    /// Every verdict, in the order of reports.
    pub const ALL: [Verdict; 4] =
        [Verdict::Reproduced, Verdict::Contradicted, Verdict::Open, Verdict::NotMeasured];

    /// The verdict in words.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::Contradicted => "contradicted",
            Verdict::Open => "open",
            Verdict::NotMeasured => "not measured",
        }
    }
}

/// A claim with what the run says of it.
#[derive(Clone, Debug)]
pub struct JudgedClaim {
    /// The claim.
    pub claim: Claim,
    /// The verdict.
    pub verdict: Verdict,
    /// The first row minus the second, if both are measured. Its p value is that of the hypothesis that the
    /// difference is 0, whatever the margin.
    pub contrast: Option<Contrast>,
    /// p value of the hypothesis that the difference equals the margin.
    pub p: Option<f64>,
    /// The same, corrected for the tests of the claim's family.
    pub p_holm: Option<f64>,
    /// Whether the first row is significantly above the untrained encoder; `None` if not tested.
    pub above_floor: Option<bool>,
    /// Whether the first row is significantly above the same method with view 1 of another pair; `None` if not
    /// tested.
    pub cross_view: Option<bool>,
    /// The first and the second row with the floor as 0 and the ceiling as 1, mean over the claim's columns.
    pub normalised: Option<(f64, f64)>,
    /// Whether a column of the claim has a ceiling that leaves no room above the floor.
    pub lacks_ceiling: bool,
    /// For pooled R2: the first and the second row with the constant predictor as 0.
    pub net_of_constant: Option<(f64, f64)>,
}

/// Judges every claim that applies to this data set.
pub fn judge(values: &Values, context: &ReportContext) -> Vec<JudgedClaim> {
    let claims = applicable(context);
    let families = claims.chunk_by(|a, b| (a.table, a.family) == (b.table, b.family));
    families.flat_map(|family| judge_family(values, context, family)).collect()
}

/// The first row minus the second for every pretraining seed that both have, without the margin. Empty if a
/// row or a column is not measured.
pub fn paired_differences(values: &Values, claim: &Claim) -> Vec<(u64, f64)> {
    let samples =
        sample(values, &claim.first, &claim.columns).zip(sample(values, &claim.second, &claim.columns));
    samples.map(|(first, second)| first.paired_differences(&second)).unwrap_or_default()
}

/// The mean over the columns for every seed of a row.
fn sample(values: &Values, row: &str, columns: &[Quantity]) -> Option<Sample> {
    let samples: Option<Vec<&Sample>> = columns.iter().map(|column| values.sample(row, column)).collect();
    Sample::mean(&samples?)
}

fn judge_family(values: &Values, context: &ReportContext, claims: &[Claim]) -> Vec<JudgedClaim> {
    let contrast = |claim: &Claim, margin: f64| {
        let first = sample(values, &claim.first, &claim.columns)?.shifted(-margin);
        first.minus_at(&sample(values, &claim.second, &claim.columns)?, context.looks)
    };
    let against_margin: Vec<Option<Contrast>> =
        claims.iter().map(|claim| contrast(claim, claim.margin)).collect();
    let p_holm = corrected(&against_margin);
    let floor = MethodKind::RandomInit.to_string();
    let above_floor = marks(values, context, claims, |_| floor.clone());
    let cross_view = marks(values, context, claims, |claim| format!("{}, other view 1", claim.first));
    let judged = claims.iter().enumerate().map(|(i, claim)| {
        let columns: Vec<Column> =
            claim.columns.iter().map(|column| r2_column(values, context, column)).collect();
        JudgedClaim {
            claim: claim.clone(),
            verdict: verdict(against_margin[i].as_ref(), p_holm[i]),
            contrast: contrast(claim, 0.0),
            p: against_margin[i].as_ref().and_then(|contrast| contrast.difference.p),
            p_holm: p_holm[i],
            above_floor: above_floor[i],
            cross_view: cross_view[i],
            normalised: both(claim, |row| normalised(&columns, row)),
            lacks_ceiling: columns.iter().any(Column::lacks_ceiling),
            net_of_constant: both(claim, |row| net_of_constant(values, claim, row)),
        }
    });
    judged.collect()
}

fn verdict(against_margin: Option<&Contrast>, p_holm: Option<f64>) -> Verdict {
    match (against_margin, p_holm) {
        (None, _) => Verdict::NotMeasured,
        (Some(contrast), Some(p)) if p < LEVEL && contrast.difference.mean > 0.0 => Verdict::Reproduced,
        (Some(contrast), Some(p)) if p < LEVEL && contrast.difference.mean < 0.0 => Verdict::Contradicted,
        _ => Verdict::Open,
    }
}

/// Holm's p values of the contrasts that have a test.
fn corrected(contrasts: &[Option<Contrast>]) -> Vec<Option<f64>> {
    let p: Vec<Option<f64>> = contrasts
        .iter()
        .map(|contrast| contrast.as_ref().and_then(|contrast| contrast.difference.p))
        .collect();
    let mut corrected = holm(&p.iter().copied().flatten().collect::<Vec<f64>>()).into_iter();
    p.into_iter().map(|p| p.and_then(|_| corrected.next())).collect()
}

/// Whether the first row of every claim is significantly above a reference row in the claim's columns.
/// Claims about the same row and columns share one test, and Holm's correction takes these tests together.
fn marks(
    values: &Values,
    context: &ReportContext,
    claims: &[Claim],
    reference: impl Fn(&Claim) -> String,
) -> Vec<Option<bool>> {
    let key = |claim: &Claim| (claim.first.clone(), claim.columns.clone());
    let contrast = |claim: &Claim| {
        let first = sample(values, &claim.first, &claim.columns)?;
        first.minus_at(&sample(values, &reference(claim), &claim.columns)?, context.looks)
    };
    let tests: BTreeMap<_, Option<Contrast>> = claims
        .iter()
        .filter(|claim| claim.first != reference(claim))
        .map(|claim| (key(claim), contrast(claim)))
        .collect();
    let contrasts: Vec<Option<Contrast>> = tests.values().cloned().collect();
    let above = contrasts.iter().zip(corrected(&contrasts)).map(|(contrast, p)| {
        let difference = contrast.as_ref()?.difference.mean;
        p.map(|p| p < LEVEL && difference > 0.0)
    });
    let above: BTreeMap<_, Option<bool>> = tests.into_keys().zip(above).collect();
    claims.iter().map(|claim| above.get(&key(claim)).copied().flatten()).collect()
}

/// A value of both rows of a claim.
fn both(claim: &Claim, value: impl Fn(&str) -> Option<f64>) -> Option<(f64, f64)> {
    value(&claim.first).zip(value(&claim.second))
}

/// The column of a transformation. Other columns have neither floor nor ceiling: a network that regresses
/// transformations is no ceiling for classes.
fn r2_column(values: &Values, context: &ReportContext, quantity: &Quantity) -> Column {
    let column =
        Column::new(&quantity.task, "", &context.methods, |row| values.sample(row, quantity).cloned());
    let is_r2 = TaskFamily::of_task(&quantity.task) == TaskFamily::Transformation;
    if is_r2 { column } else { column.without_ceiling() }
}

fn normalised(columns: &[Column], row: &str) -> Option<f64> {
    let scores: Option<Vec<f64>> = columns.iter().map(|column| column.normalised(row)).collect();
    let scores = scores.filter(|scores| !scores.is_empty())?;
    Some(scores.iter().sum::<f64>() / scores.len() as f64)
}

/// (R2 - c) / (1 - c) with the constant predictor's c, which pooling puts above 0.
fn net_of_constant(values: &Values, claim: &Claim, row: &str) -> Option<f64> {
    let pooled = claim.metric == R2Metric::POOLED.to_string();
    let constant = values.overall(&claim.task, &R2Metric::CONSTANT.to_string()).filter(|_| pooled)?;
    Some((values.summary(row, &claim.task, &claim.metric)?.mean - constant) / (1.0 - constant))
}
