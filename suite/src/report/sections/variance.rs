//! Where the variance of the headline values comes from: the encoders' seeds or the probes'.

use super::section::Section;
use super::{scores, segmentation};
use crate::report::column::{Column, MethodSample};
use crate::report::context::ReportContext;
use crate::report::table::{Note, Row, Table, TableEntry};
use crate::report::values::Values;

/// One row per headline and method that was probed more than once, with both standard deviations.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let mut headlines = scores::headline_columns(values, context);
    headlines.extend(segmentation::headline_columns(values, context));
    let in_column =
        |column: &Column| column.samples.iter().filter_map(|method| row(column, method)).collect::<Vec<_>>();
    let columns = ["std between pretraining seeds", "std between probe seeds"].map(str::to_owned).to_vec();
    let notes = [
        "Standard deviations of one draw, from the one-way analysis of variance with random effects. Between pretraining \
         seeds: what is left of the spread of the encoders once the spread of their probes is taken off; 0.000: nothing \
         is.",
        "A larger part between probe seeds asks for more of those, which are cheap; the other tables average them out \
         within each pretraining seed.",
    ];
    let notes = notes.map(|note| Note::Plain(note.to_owned())).to_vec();
    vec![section.table("what: method", columns, headlines.iter().flat_map(in_column).collect(), notes)]
}

/// `None` if no encoder was probed twice.
fn row(column: &Column, method: &MethodSample) -> Option<Row> {
    let components = method.sample.as_ref()?.components()?;
    let probe = components.probe?;
    let std = |variance: f64| TableEntry::Share(variance.sqrt());
    Some(Row {
        label: format!("{}: {}", column.subject, method.method),
        role: method.role,
        entries: vec![components.pretraining.map_or(TableEntry::Missing, std), std(probe)],
    })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};

    /// Two encoders with two probes each: 0.50, 0.54 and 0.60, 0.64. Within encoders, the sum of squares is
    /// 2 * 0.0008 on 2 degrees of freedom. The means differ by 0.10, so n times their variance is
    /// 2 * 0.005 = 0.01, and the component between encoders is (0.01 - 0.0008) / 2 = 0.0046.
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
        let section = section("variance", Group::Training);
        let found = tables(section, &Values::at_end(&cells), &context).remove(0);
        let labels: Vec<&str> = found.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["rotation: Ours", "rotation: VICReg"]);
        let number =
            |entry: &TableEntry| if let TableEntry::Share(value) = entry { *value } else { f64::NAN };
        let [pretraining, probe] = [number(&found.rows[0].entries[0]), number(&found.rows[0].entries[1])];
        assert!((pretraining - 0.0046f64.sqrt()).abs() < 1e-12 && (probe - 0.0008f64.sqrt()).abs() < 1e-12);
        assert!(matches!(found.rows[1].entries[0], TableEntry::Missing));
    }
}
