//! The claims with their verdicts as JSON, for programs.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::format::{Document, Format};
use crate::report::claims::{ClaimFamily, JudgedClaim, Verdict};
use crate::report::column::NO_CEILING;

/// An object with `claims`, one object each, and their `counts` by verdict.
pub struct Json;

/// Number of claims by verdict.
type Counts = BTreeMap<Verdict, usize>;

#[derive(Serialize)]
struct Claims<'a> {
    claims: Vec<Record<'a>>,
    counts: Counts,
    counts_by_family: BTreeMap<ClaimFamily, Counts>,
}

/// A claim. What is not known is null.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    /// Key of the suite's data set, if it has several.
    part: Option<&'a str>,
    family: ClaimFamily,
    table: Option<u8>,
    data_set: Option<&'a str>,
    task: &'a str,
    metric: &'a str,
    first: &'a str,
    second: &'a str,
    margin: f64,
    paper_first: Option<f64>,
    paper_second: Option<f64>,
    paper_difference: Option<f64>,
    stated: Option<bool>,
    beyond_spread: Option<bool>,
    difference: Option<f64>,
    interval: Option<(f64, f64)>,
    /// Pretraining seeds of the first row and of the second.
    n: Option<(usize, usize)>,
    p: Option<f64>,
    p_holm: Option<f64>,
    p_blocks: Option<f64>,
    p_blocks_holm: Option<f64>,
    verdict: Verdict,
    above_floor: Option<bool>,
    cross_view: Option<bool>,
    /// Values of the first row and of the second.
    normalised: Option<(f64, f64)>,
    net_of_constant: Option<(f64, f64)>,
    note: Option<&'static str>,
}

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn render(&self, document: &Document) -> Result<String> {
        let mut found = Claims { claims: vec![], counts: counts(), counts_by_family: BTreeMap::new() };
        for data_set in &document.data_sets {
            for judged in &data_set.claims {
                let of_family = found.counts_by_family.entry(judged.claim.family).or_insert_with(counts);
                for counts in [of_family, &mut found.counts] {
                    *counts.entry(judged.verdict).or_default() += 1;
                }
                found.claims.push(record(data_set.context.part.as_deref(), judged));
            }
        }
        Ok(serde_json::to_string_pretty(&found)? + "\n")
    }
}

/// No claim of any verdict.
fn counts() -> Counts {
    Verdict::ALL.map(|verdict| (verdict, 0)).into()
}

fn record<'a>(part: Option<&'a str>, judged: &'a JudgedClaim) -> Record<'a> {
    let JudgedClaim { claim, contrast, .. } = judged;
    Record {
        id: &claim.id,
        part,
        family: claim.family,
        table: claim.table,
        data_set: claim.data_set.as_deref(),
        task: &claim.task,
        metric: &claim.metric,
        first: &claim.first,
        second: &claim.second,
        margin: claim.margin,
        paper_first: claim.paper.map(|paper| paper.first),
        paper_second: claim.paper.map(|paper| paper.second),
        paper_difference: claim.paper.map(|paper| paper.difference()),
        stated: claim.paper.map(|paper| paper.stated),
        beyond_spread: claim.paper.and_then(|paper| paper.beyond_spread),
        difference: contrast.as_ref().map(|contrast| contrast.difference.mean),
        interval: contrast.as_ref().and_then(|contrast| contrast.difference.ci95),
        n: contrast.as_ref().map(|contrast| contrast.sizes()),
        p: judged.p,
        p_holm: judged.p_holm,
        p_blocks: judged.p_blocks,
        p_blocks_holm: judged.p_blocks_holm,
        verdict: judged.verdict,
        above_floor: judged.above_floor,
        cross_view: judged.cross_view,
        normalised: judged.normalised,
        net_of_constant: judged.net_of_constant,
        note: judged.lacks_ceiling.then_some(NO_CEILING),
    }
}
