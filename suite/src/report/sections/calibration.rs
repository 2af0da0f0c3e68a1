//! What the probes of this suite read of planted encoders, whose attainable R2 is known.

use super::section::Section;
use crate::registry::Predictor;
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::planted_values::calibration;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::Values;
use crate::run_folder::calibration::{CalibrationCurve, Planted};

/// One row per plant, one column per task and probe.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let calibration = calibration(values, context);
    let curves = calibration.curves();
    let mut columns: Vec<(&str, Predictor)> = Vec::new();
    let mut plants = Vec::new();
    for curve in &curves {
        if !columns.contains(&(curve.task, curve.predictor)) {
            columns.push((curve.task, curve.predictor));
        }
        for reading in
            curve.readings.iter().filter(|reading| !plants.contains(&reading.plant)).collect::<Vec<_>>()
        {
            plants.push(reading.plant);
        }
    }
    let entry = |plant, &(task, predictor): &(&str, Predictor)| {
        let readings = curves.iter().filter(|curve| (curve.task, curve.predictor) == (task, predictor));
        let reading = readings.flat_map(|curve| &curve.readings).find(|reading| reading.plant == plant);
        reading.map_or(TableEntry::Missing, |reading| TableEntry::Text(written(reading)))
    };
    let row = |plant| Row {
        label: format!("{plant}"),
        role: Role::Reference,
        entries: columns.iter().map(|column| entry(plant, column)).collect(),
    };
    let headings = columns.iter().map(|(task, predictor)| format!("{task} R2, {}", probe(*predictor)));
    let note = "Per-output R2 of encoders in which the R2 behind the name is planted: what the best probe attains. \
                Plain: as pose and hues, so that a linear probe attains all of color. Signed: hues times a random \
                sign, of which a linear probe attains nothing. In brackets 95% intervals over test objects; of \
                planted 0, the mean and the range of several encoders.";
    let limits: Vec<String> = curves.iter().map(limit).collect();
    let limits = format!(
        "Detection limit, the planted R2 from which on the interval lies above what the probe reads of every encoder \
         without the parameters: {}.",
        limits.join("; ")
    );
    let notes = vec![Note::Plain(note.to_owned()), Note::Plain(limits)];
    vec![section.table("encoder", headings.collect(), plants.into_iter().map(row).collect(), notes)]
}

fn probe(predictor: Predictor) -> &'static str {
    if predictor == Predictor::Linear { "linear probe" } else { "MLP" }
}

fn written(reading: &Planted) -> String {
    let interval = |(low, high)| format!(" [{}, {}]", number(low), number(high));
    format!("{}{}", number(reading.value()), reading.interval().map(interval).unwrap_or_default())
}

fn limit(curve: &CalibrationCurve) -> String {
    let CalibrationCurve { task, code, predictor, .. } = curve;
    format!("{task}, {code}, {} {}", probe(*predictor), curve.detection_limit())
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::numbers::Numbers;
    use crate::run_folder::cell::Cell;

    #[test]
    fn planted_encoders_have_a_table_of_their_own() {
        let context = context(&["color"], &["Ours"]);
        let planted = |method: &str, seed: u64, r2: f64| Cell {
            external: true,
            ..probe(method, seed, &[value("color", "r2_per_output", 0, r2)])
        };
        let cells = [
            probe("Ours", 0, &[value("color", "r2_per_output", 0, 0.7)]),
            planted("Planted (plain, 0)", 0, -0.1),
            planted("Planted (plain, 0)", 1, 0.2),
            planted("Planted (plain, 0.5)", 0, 0.4),
        ];
        let table =
            tables(section("calibration", Group::Training), &Values::at_end(&cells), &context).remove(0);
        let rows: Vec<(&str, Vec<String>)> = table
            .rows
            .iter()
            .map(|row| (row.label.as_str(), row.entries[0].words(Numbers::default())))
            .collect();
        assert_eq!(table.columns, ["color R2, MLP"]);
        assert_eq!(
            rows,
            [
                ("Planted (plain, 0)", vec!["0.050 [-0.100, 0.200]".to_owned()]),
                ("Planted (plain, 0.5)", vec!["0.400".to_owned()]),
            ]
        );
        assert!(
            matches!(&table.notes[1], Note::Plain(text) if text.ends_with("color, plain, MLP unknown, too few \
            test objects for intervals.")),
            "{:?}",
            table.notes
        );
    }
}
