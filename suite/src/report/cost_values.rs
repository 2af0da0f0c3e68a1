//! What trainings cost: time and energy, of those that were not interrupted.

use std::collections::BTreeSet;

use crate::report::curve_values::CurveValue;
use crate::report::quantity::Quantity;
use crate::run_folder::cell::{Cell, CellKind};

/// What is known of the energy of trainings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnergyFacts {
    /// What energies are of: `processors`, `processors and GPUs`, `nodes`.
    pub of: BTreeSet<&'static str>,
    /// Why others are not available.
    pub causes: BTreeSet<String>,
}

/// The trainings whose time counts.
fn trainings(cells: &[Cell]) -> impl Iterator<Item = (&Cell, f64)> {
    let timed = cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && !cell.resumed);
    timed.filter_map(|cell| Some((cell, cell.views? as f64)))
}

/// Seconds, views per second, watt-hours and watt-hours per million views of every training.
pub fn cost_values(cells: &[Cell]) -> Vec<CurveValue<'_>> {
    let mut values = Vec::new();
    for (cell, views) in trainings(cells) {
        let mut add = |quantity, value| {
            values.push(CurveValue { method: &cell.method, quantity, seed: cell.pretrain_seed, value });
        };
        add(Quantity::seconds(), cell.seconds);
        add(Quantity::views_per_second(), views / cell.seconds);
        if let Some(energy) = &cell.energy
            && let (Some(total), Some(million)) = (energy.total(), energy.per_million(views))
        {
            add(Quantity::watt_hours(total.of), total.watt_hours);
            add(Quantity::watt_hours_per_million(total.of), million);
        }
    }
    values
}

/// What is known of the energy of these trainings.
pub fn energy_facts(cells: &[Cell]) -> EnergyFacts {
    let mut facts = EnergyFacts::default();
    for energy in trainings(cells).filter_map(|(cell, _)| cell.energy.as_ref()) {
        facts.of.extend(energy.total().map(|total| total.of));
        facts.causes.extend(energy.not_available.clone());
    }
    facts
}
