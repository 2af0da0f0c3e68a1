//! The heat maps of an X-ray: one a measure, layers as rows; transformations, or the measure itself, as
//! columns of every kind of token.

use crate::run_folder::xray::{Reading, Xray, XrayMeasure};

/// The values of one measure over all outputs of a transformation.
pub struct HeatMap<'a> {
    /// What is measured.
    pub measure: XrayMeasure,
    /// Layers from the first to the last.
    pub layers: Vec<&'a str>,
    /// The columns of each kind of token that is there.
    pub groups: Vec<Group<'a>>,
    /// Largest value.
    largest: f64,
}

/// The columns of one kind of token.
pub struct Group<'a> {
    /// The tokens.
    pub tokens: &'a str,
    /// Column by column.
    pub columns: Vec<Column<'a>>,
}

/// A transformation, or the whole measure.
pub struct Column<'a> {
    /// The transformation.
    pub task: Option<&'a str>,
    /// The reading at each layer, if there is one.
    pub readings: Vec<Option<&'a Reading>>,
}

impl<'a> HeatMap<'a> {
    /// The maps of all measures that have readings.
    pub fn all(xray: &'a Xray) -> Vec<HeatMap<'a>> {
        XrayMeasure::ALL.into_iter().filter_map(|measure| HeatMap::of(xray, measure)).collect()
    }

    fn of(xray: &'a Xray, measure: XrayMeasure) -> Option<HeatMap<'a>> {
        let is_shown = |reading: &&Reading| reading.measure == measure && reading.output.is_none();
        let shown: Vec<&Reading> = xray.readings.iter().filter(is_shown).collect();
        let layers = in_order(shown.iter().map(|reading| reading.layer.as_str()));
        let tasks = in_order(shown.iter().map(|reading| reading.task.as_deref()));
        let group = |tokens: &'a str| {
            let column = |&task: &Option<&'a str>| {
                let is_own =
                    |reading: &&&Reading| reading.tokens == tokens && reading.task.as_deref() == task;
                let at = |layer: &&str| shown.iter().filter(is_own).copied().find(|own| own.layer == **layer);
                Column { task, readings: layers.iter().map(at).collect() }
            };
            Group { tokens, columns: tasks.iter().map(column).collect() }
        };
        let groups = in_order(shown.iter().map(|reading| reading.tokens.as_str()));
        let groups = groups.into_iter().map(group).collect();
        let largest = shown.iter().filter_map(|reading| reading.value).fold(0.0, f64::max);
        (!shown.is_empty()).then_some(HeatMap { measure, layers, groups, largest })
    }

    /// How warm a value is, from 0 to 1; below 0 for an R2 below 0. Shares of 1 are as warm as they say,
    /// other values in relation to the largest.
    pub fn warmth(&self, value: f64) -> f64 {
        match self.measure {
            XrayMeasure::LinearR2 | XrayMeasure::MlpR2 | XrayMeasure::Neighbours => value,
            _ if self.largest > 0.0 => value / self.largest,
            _ => 0.0,
        }
    }
}

/// A value as it is written in a map.
pub fn written(measure: XrayMeasure, value: f64) -> String {
    let decimals = if measure == XrayMeasure::EffectiveRank { 1 } else { 2 };
    let text = format!("{value:.decimals$}");
    // no minus sign stands before a zero
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| matches!(c, '0' | '.')) => zero.to_owned(),
        _ => text,
    }
}

/// Each item once, in the order of its first occurrence.
pub fn in_order<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    items.for_each(|item| {
        if !found.contains(&item) {
            found.push(item);
        }
    });
    found
}
