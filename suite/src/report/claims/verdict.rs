//! The verdict on every claim of a report.
//!
//! The tests of a family (a paper's table, or the claims of one origin) are corrected together by Holm's
//! procedure at [`LEVEL`]. If the number of seeds depends on the verdicts, the tests are sequential.

use std::collections::BTreeMap;

use eqr_models::MethodKind;
use eqr_probes::stats::{Difference, holm};
use serde::Serialize;

use super::claim::{Claim, applicable};
use crate::registry::{R2Metric, TaskFamily};
use crate::report::blocks::Blocks;
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::legend::LEVEL;
use crate::report::mean::mean;
use crate::report::values::{Contrast, Quantity, Sample, Values};

/// What a run says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The difference is significantly above the margin.
    Reproduced,
    /// The difference is significantly below the margin.
    Contradicted,
    /// Measured and undecided, for example by a single seed.
    Open,
    /// A row or a column is not measured.
    #[serde(rename = "not measured")]
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
    /// The same as `p`, with the noise estimated from all methods that share the first row's seeds; `None` if
    /// the second row does not, or if the number of seeds depends on the verdicts.
    pub p_blocks: Option<f64>,
    /// The same, corrected for the tests of the claim's family.
    pub p_blocks_holm: Option<f64>,
    /// Whether the first row is significantly above the untrained encoder; `None` if not tested.
    pub above_floor: Option<bool>,
    /// Whether the first row is significantly above the same method with view 1 of another pair; `None` if
    /// not tested.
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
    let p = |contrast: &Option<Contrast>| contrast.as_ref().and_then(|contrast| contrast.difference.p);
    let p: Vec<Option<f64>> = against_margin.iter().map(p).collect();
    let p_holm = corrected(&p);
    let p_blocks: Vec<Option<f64>> = claims.iter().map(|claim| p_by_blocks(values, context, claim)).collect();
    let p_blocks_holm = corrected(&p_blocks);
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
            p: p[i],
            p_holm: p_holm[i],
            p_blocks: p_blocks[i],
            p_blocks_holm: p_blocks_holm[i],
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

/// p value of the hypothesis that the difference equals the margin, from the block analysis of all methods.
fn p_by_blocks(values: &Values, context: &ReportContext, claim: &Claim) -> Option<f64> {
    let of_row = |row: &str| {
        let margin = if row == claim.first { claim.margin } else { 0.0 };
        Some(sample(values, row, &claim.columns)?.shifted(-margin))
    };
    let first = of_row(&claim.first).filter(|_| context.looks.is_none())?;
    Blocks::new(&context.methods, &first, of_row)?.difference(&claim.first, &claim.second)?.p
}

/// Holm's p values of the tests that there are.
fn corrected(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut corrected = holm(&p.iter().copied().flatten().collect::<Vec<f64>>()).into_iter();
    p.iter().map(|p| p.and_then(|_| corrected.next())).collect()
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
    let differences: Vec<Option<Difference>> = tests
        .values()
        .map(|contrast| contrast.as_ref().map(|contrast| contrast.difference.clone()))
        .collect();
    let p: Vec<Option<f64>> = differences.iter().map(|difference| difference.as_ref()?.p).collect();
    let above = differences.iter().zip(corrected(&p)).map(|(difference, p)| {
        let mean = difference.as_ref()?.mean;
        p.map(|p| p < LEVEL && mean > 0.0)
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
    Some(mean(&scores))
}

/// (R2 - c) / (1 - c) with the constant predictor's c, which pooling puts above 0.
fn net_of_constant(values: &Values, claim: &Claim, row: &str) -> Option<f64> {
    let pooled = claim.metric == R2Metric::POOLED.to_string();
    let constant = values.overall(&claim.task, &R2Metric::CONSTANT.to_string()).filter(|_| pooled)?;
    Some((values.summary(row, &claim.task, &claim.metric)?.mean - constant) / (1.0 - constant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{context, downstream, probe, rotation_and_color, value};
    use crate::run_folder::cell::{Cell, CellKind};
    use crate::suite_file::own_claims::{MEAN, OwnClaim};

    fn claim(task: &str, first: &str, second: &str) -> OwnClaim {
        OwnClaim { first: first.into(), second: second.into(), task: task.into(), metric: None, margin: 0.0 }
    }

    /// Paired differences of rotation 0.10, 0.14, 0.12: mean 0.12, standard error 0.02/sqrt(3) = 0.011547, t
    /// = 10.392 on 2 degrees of freedom. With these, p = 1 - t / sqrt(t^2 + 2) = 0.00913. Color differs by
    /// -0.1, 0, 0.1.
    fn cells() -> Vec<Cell> {
        let of = |method: &str, values: [(f64, f64); 3]| {
            let cell = |(seed, (rotation, color)): (usize, (f64, f64))| {
                rotation_and_color(method, seed as u64, rotation, color)
            };
            values.into_iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        [
            of("Ours", [(0.60, 0.5), (0.64, 0.4), (0.62, 0.6)]),
            of("VICReg", [(0.50, 0.6), (0.50, 0.4), (0.50, 0.5)]),
        ]
        .concat()
    }

    fn judged(cells: &[Cell], claims: Vec<OwnClaim>) -> Vec<JudgedClaim> {
        let methods = ["Random init", "Ours", "Ours, other view 1", "VICReg", "Direct regression"];
        let context = ReportContext { claims, ..context(&["rotation", "color"], &methods) };
        judge(&Values::at_end(cells), &context)
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-5
    }

    #[test]
    fn a_clear_difference_reproduces_a_claim_and_contradicts_its_converse() {
        for (first, second, verdict) in
            [("Ours", "VICReg", Verdict::Reproduced), ("VICReg", "Ours", Verdict::Contradicted)]
        {
            let [found] = &judged(&cells(), vec![claim("rotation", first, second)])[..] else { panic!() };
            assert_eq!((found.verdict, found.p), (verdict, found.p_holm));
            assert!(close(found.p.unwrap(), 0.009134), "{found:?}");
        }
        let [found] = &judged(&cells(), vec![claim("color", "Ours", "VICReg")])[..] else { panic!() };
        assert_eq!((found.verdict, found.p), (Verdict::Open, Some(1.0)));
    }

    /// Five tests: 5 * 0.009134 = 0.0457. Six tests: 0.0548. Claims without a test do not count.
    #[test]
    fn holm_takes_the_tests_of_a_family_together() {
        for (others, verdict, p_holm) in [(4, Verdict::Reproduced, 0.045669), (5, Verdict::Open, 0.054802)] {
            let mut claims = vec![claim("rotation", "Ours", "VICReg"), claim("rotation", "Ours", "SimCLR")];
            claims.extend((0..others).map(|_| claim("color", "Ours", "VICReg")));
            let found = judged(&cells(), claims);
            assert_eq!((found[0].verdict, found[1].verdict), (verdict, Verdict::NotMeasured));
            assert!(close(found[0].p_holm.unwrap(), p_holm), "{:?}", found[0]);
        }
    }

    /// 0.12 - 0.05 gives t = 6.0622 and p = 1 - 6.0622 / sqrt(38.75) = 0.02614; 0.12 - 0.2 gives t = -6.9282
    /// and p = 1 - 6.9282 / sqrt(50) = 0.02020. The shown difference and its interval stay.
    #[test]
    fn a_margin_is_what_the_difference_is_tested_against() {
        for (margin, verdict, p) in [
            (0.05, Verdict::Reproduced, 0.026144),
            (0.12, Verdict::Open, 1.0),
            (0.2, Verdict::Contradicted, 0.020204),
        ] {
            let own = OwnClaim { margin, ..claim("rotation", "Ours", "VICReg") };
            let [found] = &judged(&cells(), vec![own])[..] else { panic!() };
            assert_eq!(found.verdict, verdict, "{margin}");
            assert!((found.p.unwrap() - p).abs() < 1e-3, "{found:?}");
            let difference = &found.contrast.as_ref().unwrap().difference;
            assert!(close(difference.mean, 0.12) && close(difference.ci95.unwrap().0, 0.070317));
        }
    }

    #[test]
    fn one_seed_and_seeds_that_repeat_each_other_leave_a_claim_open() {
        let one = [rotation_and_color("Ours", 0, 0.9, 0.9), rotation_and_color("VICReg", 0, 0.1, 0.1)];
        let [found] = &judged(&one, vec![claim("rotation", "Ours", "VICReg")])[..] else { panic!() };
        assert_eq!((found.verdict, found.p), (Verdict::Open, None));
        let again = one.iter().map(|cell| {
            let mut cell = cell.clone();
            cell.pretrain_seed = 1;
            cell.metrics.iter_mut().for_each(|metric| metric.pretrain_seed = 1);
            cell
        });
        let cells: Vec<Cell> = again.chain(one.iter().cloned()).collect();
        let [found] = &judged(&cells, vec![claim("rotation", "Ours", "VICReg")])[..] else { panic!() };
        assert_eq!((found.verdict, found.p), (Verdict::Open, None));
    }

    #[test]
    fn without_a_row_or_a_column_a_claim_is_not_measured() {
        for own in [
            claim("rotation", "Ours", "SimCLR"),
            claim("blur", "Ours", "VICReg"),
            claim("linear transfer", "Ours", "VICReg"),
        ] {
            let [found] = &judged(&cells(), vec![own])[..] else { panic!() };
            assert_eq!((found.verdict, found.normalised), (Verdict::NotMeasured, None));
            assert!(found.contrast.is_none() && found.p_blocks.is_none());
        }
    }

    /// Means over rotation and color, seed by seed, differ by 0, 0.07 and 0.11: mean 0.06, standard error
    /// 0.055678 / sqrt(3), interval 0.06 -+ 4.302653 * 0.032146.
    #[test]
    fn a_mean_is_taken_seed_by_seed_and_pairs_by_seed() {
        let [found] = &judged(&cells(), vec![claim(MEAN, "Ours", "VICReg")])[..] else { panic!() };
        let contrast = found.contrast.as_ref().unwrap();
        let (low, high) = contrast.difference.ci95.unwrap();
        assert!(close(contrast.difference.mean, 0.06) && close(low, -0.078312) && close(high, 0.198312));
        assert_eq!((found.verdict, contrast.sizes()), (Verdict::Open, (3, 3)));
        let [found] = &judged(&cells()[1..], vec![claim(MEAN, "Ours", "VICReg")])[..] else { panic!() };
        assert_eq!(found.contrast.as_ref().unwrap().sizes(), (2, 3));
    }

    /// A third method makes the layout of three: the noise is then that of all of them, on 4 degrees of
    /// freedom. Its rotation equals VICReg's up to (0.03, -0.03, 0), which leaves the noise of the layout as
    /// the mean of the three pairs' noise variances.
    #[test]
    fn blocks_take_the_noise_of_all_methods() {
        let third = [(0.53, 0.5), (0.47, 0.5), (0.50, 0.5)].into_iter().enumerate();
        let third = third.map(|(seed, (rotation, color))| {
            rotation_and_color("Ours, other view 1", seed as u64, rotation, color)
        });
        let cells: Vec<Cell> = cells().into_iter().chain(third).collect();
        let of = |margin| OwnClaim { margin, ..claim("rotation", "Ours", "VICReg") };
        let found = judged(&cells, vec![of(0.0), of(0.12)]);
        // noise variances of the pairs' differences: 0.0004, 0.0009, and of (0.07, 0.17, 0.12) 0.0025
        let noise: f64 = (0.0004 + 0.0009 + 0.0025) / 3.0 / 2.0;
        let t = 0.12 / (2.0 * noise / 3.0).sqrt();
        // two-sided tail of Student's t on 4 degrees of freedom
        let s = t / (t * t + 4.0_f64).sqrt();
        let p = 1.0 - s * (1.5 - 0.5 * s * s);
        assert!(close(found[0].p_blocks.unwrap(), p), "{:?}, {p}", found[0]);
        assert!(close(found[0].p_blocks_holm.unwrap(), 2.0 * p) && close(found[1].p_blocks.unwrap(), 1.0));
    }

    /// The untrained encoder reads as much color as Ours, and other pairs' view 1 serves color as well.
    #[test]
    fn marks_are_tests_against_the_floor_and_against_another_view_1() {
        let of = |method: &str, rotation: f64, color: f64| {
            let noise = [0.01, -0.01, 0.0];
            let cell = |(seed, noise): (usize, f64)| {
                let noise = noise * method.len() as f64 / 10.0;
                rotation_and_color(method, seed as u64, rotation + noise, color + noise)
            };
            noise.into_iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        let cells = [cells(), of("Random init", 0.2, 0.5), of("Ours, other view 1", 0.4, 0.5)].concat();
        let claims = vec![
            claim("rotation", "Ours", "VICReg"),
            claim("color", "Ours", "VICReg"),
            claim("rotation", "VICReg", "Ours"),
            claim("rotation", "Random init", "Ours"),
        ];
        let found: Vec<_> =
            judged(&cells, claims).iter().map(|found| (found.above_floor, found.cross_view)).collect();
        let expected =
            [(Some(true), Some(true)), (Some(false), Some(false)), (Some(true), None), (None, None)];
        assert_eq!(found, expected);
    }

    /// Ours reads 0.62 and VICReg 0.50 of rotation: (0.62 - 0.2) / (0.8 - 0.2) and (0.5 - 0.2) / 0.6. The
    /// ceiling of color is 0.05 above its floor.
    #[test]
    fn scores_are_normalised_where_there_is_a_ceiling() {
        let mut cells = cells();
        cells.push(rotation_and_color("Random init", 0, 0.2, 0.4));
        cells.push(rotation_and_color("Direct regression", 0, 0.8, 0.45));
        let claims = ["rotation", "color", MEAN].map(|task| claim(task, "Ours", "VICReg"));
        let found = judged(&cells, claims.to_vec());
        let (first, second) = found[0].normalised.unwrap();
        assert!(close(first, 0.7) && close(second, 0.5), "{first} {second}");
        let without: Vec<_> =
            found.iter().map(|found| (found.normalised.is_none(), found.lacks_ceiling)).collect();
        assert_eq!(without, [(false, false), (true, true), (true, true)]);
    }

    /// The network that regresses rotation alone is a ceiling of rotation and not of color: (0.62 - 0.2) /
    /// (0.7 - 0.2) and (0.5 - 0.2) / 0.5.
    #[test]
    fn a_ceiling_of_one_task_is_none_of_another() {
        let mut cells = cells();
        cells.push(rotation_and_color("Random init", 0, 0.2, 0.4));
        cells.push(rotation_and_color("Direct regression", 0, 0.3, 0.6));
        cells.push(rotation_and_color("Direct regression(rot)", 0, 0.7, 0.9));
        let methods = ["Random init", "Ours", "VICReg", "Direct regression", "Direct regression(rot)"];
        let claims = ["rotation", "color"].map(|task| claim(task, "Ours", "VICReg")).to_vec();
        let context = ReportContext { claims, ..context(&["rotation", "color"], &methods) };
        let found = judge(&Values::at_end(&cells), &context);
        let (first, second) = found[0].normalised.unwrap();
        assert!(close(first, 0.84) && close(second, 0.6), "{first} {second}");
        assert!(close(found[1].normalised.unwrap().0, 0.5), "{:?}", found[1]);
    }

    /// With the constant at 0.2: (0.6 - 0.2) / 0.8 and (0.4 - 0.2) / 0.8.
    #[test]
    fn table_1_is_judged_by_pooled_values_net_of_the_constant() {
        let of = |method: &str, pooled: f64| {
            let constant = value("rotation", "r2_pooled_constant", 0, 0.2);
            let headline = value("rotation", "r2_per_output", 0, 0.9);
            probe(method, 0, &[value("rotation", "r2_pooled", 0, pooled), headline, constant])
        };
        let context = ReportContext { table: Some(1), ..context(&["rotation"], &["SIE(rot)", "Ours"]) };
        let values = Values::at_end(&[of("SIE(rot)", 0.6), of("Ours", 0.4)]);
        let found = judge(&values, &context);
        let measured: Vec<_> = found.iter().filter(|found| found.verdict != Verdict::NotMeasured).collect();
        let [only] = measured[..] else { panic!("{measured:?}") };
        assert_eq!(only.claim.id, "table1-rotation-sie-rot-above-ours");
        let (first, second) = only.net_of_constant.unwrap();
        assert!(close(first, 0.5) && close(second, 0.25), "{first} {second}");
        assert!(close(only.claim.paper.unwrap().difference(), 0.17));
    }

    /// The mean over the sets; a network that regresses transformations is no ceiling of accuracies.
    #[test]
    fn transfer_is_judged_over_the_suites_sets() {
        let of = |method: &str, seed, a: f64, b: f64| {
            downstream(CellKind::Transfer, method, seed, &[("DTD", "top1", a), ("Pets", "mean_per_class", b)])
        };
        let cells = [
            of("Ours", 0, 0.5, 0.7),
            of("Ours", 1, 0.5, 0.8),
            of("VICReg", 0, 0.4, 0.7),
            of("VICReg", 1, 0.4, 0.7),
            of("Direct regression", 0, 0.1, 0.1),
            of("Random init", 0, 0.1, 0.1),
        ];
        let set = |dataset: &str, metric: &str| crate::report::TransferColumn {
            dataset: dataset.into(),
            metric: metric.into(),
        };
        let methods = ["Random init", "Ours", "VICReg", "Direct regression"];
        let context = ReportContext {
            claims: vec![claim("linear transfer", "Ours", "VICReg")],
            transfers: vec![set("DTD", "top1"), set("Pets", "mean_per_class")],
            ..context(&[], &methods)
        };
        let found = judge(&Values::at_end(&cells), &context);
        let own = found.last().unwrap();
        assert!(close(own.contrast.as_ref().unwrap().difference.mean, 0.075), "{own:?}");
        assert_eq!((own.normalised, own.lacks_ceiling), (None, false));
    }
}
