//! Where the variance of the headline values comes from: the encoders' seeds or the probes'.

use super::column::{Column, MethodSample};
use super::table::{Note, Row, Section, Table, TableEntry};

/// A row a column and method that was probed more than once, with both standard deviations.
pub fn table(columns: &[Column]) -> Table {
    let of_column =
        |column: &Column| column.lines.iter().filter_map(|line| row(column, line)).collect::<Vec<_>>();
    let notes = [
        "Standard deviations of one draw, from the one-way analysis of variance with random effects. Between pretraining seeds: what is left \
         of the spread of the encoders once the spread of their probes is taken off; 0.000: nothing is.",
        "A larger part between probe seeds asks for more of those, which are cheap; the other tables average them out within each \
         pretraining seed.",
    ];
    Table {
        section: Section::Variance,
        title: "Where the variance comes from".to_owned(),
        stub: "what: method",
        columns: ["std between pretraining seeds", "std between probe seeds"].map(str::to_owned).to_vec(),
        rows: columns.iter().flat_map(of_column).collect(),
        notes: notes.map(|note| Note::Plain(note.to_owned())).to_vec(),
    }
}

/// None without an encoder that was probed twice.
fn row(column: &Column, line: &MethodSample) -> Option<Row> {
    let components = line.sample.as_ref()?.components()?;
    let probe = components.probe?;
    let std = |variance: f64| TableEntry::Number(variance.sqrt());
    Some(Row {
        label: format!("{}: {}", column.subject, line.method),
        role: line.role,
        entries: vec![components.pretraining.map_or(TableEntry::Missing, std), std(probe)],
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::super::scores;
    use super::super::values::Values;
    use super::*;

    /// Two encoders, two probes each: 0.50, 0.54 and 0.60, 0.64. Within 2 * 0.0008 on 2 degrees of freedom; the means differ by 0.10, so
    /// that n times their variance is 2 * 0.005 = 0.01, and (0.01 - 0.0008) / 2 = 0.0046.
    #[test]
    fn components_of_two_encoders_by_hand() {
        let cell = |method, seed, draws: &[f64]| {
            let value = |(i, r2): (usize, &f64)| value("rotation", "r2_per_output", i as u64, *r2);
            probe(method, seed, &draws.iter().enumerate().map(value).collect::<Vec<_>>())
        };
        let cells = [
            cell("Ours", 0, &[0.50, 0.54]),
            cell("Ours", 1, &[0.60, 0.64]),
            cell("VICReg", 0, &[0.1, 0.1]),
            cell("SimCLR", 0, &[0.1]),
        ];
        let context = context(&["rotation", "color"], &["Ours", "VICReg", "SimCLR"]);
        let found = table(&scores::columns(&Values::of(&cells), &context, Section::Main));
        let labels: Vec<&str> = found.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["rotation: Ours", "rotation: VICReg"]);
        let number =
            |entry: &TableEntry| if let TableEntry::Number(value) = entry { *value } else { f64::NAN };
        let [pretraining, probe] = [number(&found.rows[0].entries[0]), number(&found.rows[0].entries[1])];
        assert!((pretraining - 0.0046f64.sqrt()).abs() < 1e-12 && (probe - 0.0008f64.sqrt()).abs() < 1e-12);
        assert!(matches!(found.rows[1].entries[0], TableEntry::Missing));
    }
}
