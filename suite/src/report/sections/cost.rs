//! What the trainings cost: time, and energy where it was counted.

use super::section::Section;
use crate::report::context::ReportContext;
use crate::report::numbers::Unit;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Values};

/// One row per trained method.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let facts = values.energy();
    let mut columns = vec![
        ("seconds".to_owned(), Quantity::seconds()),
        ("views per second".to_owned(), Quantity::views_per_second()),
    ];
    for of in &facts.of {
        columns.push((format!("Wh ({of})"), Quantity::watt_hours(of)));
        columns.push((format!("Wh per million views ({of})"), Quantity::watt_hours_per_million(of)));
    }
    let row = |method: &String| {
        let entry = |(_, quantity): &(String, Quantity)| match values.sample(method, quantity) {
            Some(sample) => {
                TableEntry::estimate(sample.values(), Mark::None, sample.values().len() == 1, Unit::Other)
            }
            None => TableEntry::Missing,
        };
        let entries: Vec<TableEntry> = columns.iter().map(entry).collect();
        let measured = entries.iter().any(|entry| !matches!(entry, TableEntry::Missing));
        measured.then(|| Row { label: method.clone(), role: Role::from_row(method), entries })
    };
    let rows: Vec<Row> = context.methods.iter().filter_map(row).collect();
    let time = "Trainings that were not interrupted, on all their ranks together: mean ± standard deviation [95% \
                interval] over pretraining seeds.";
    let meaning = |of: &str| {
        let counted = match of {
            "nodes" => "all that the nodes took, as Slurm counts it",
            "processors" => "packages and memory of the nodes (RAPL), with all that ran on them",
            _ => {
                "packages and memory of the nodes (RAPL), with all that ran on them, and the ranks' GPUs (NVML)"
            }
        };
        format!("Energy of {of}: {counted}.")
    };
    let notes = std::iter::once(time.to_owned())
        .chain(facts.of.iter().map(|of| meaning(of)))
        .chain(facts.causes.iter().map(|cause| format!("Energy not available: {cause}.")));
    let headings = columns.iter().map(|(heading, _)| heading.clone()).collect();
    vec![section.table("method", headings, rows, notes.map(Note::Plain).collect())]
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::cluster::energy::Energy;
    use crate::report::fixture::{context, pretrain, rendered};
    use crate::run_folder::cell::Cell;

    fn training(method: &str, seed: u64, energy: Energy) -> Cell {
        Cell { seconds: 2.0, views: Some(1000), energy: Some(energy), ..pretrain(method, seed, &[(10, 1.0)]) }
    }

    fn processors(watt_hours: f64) -> Energy {
        Energy { processors_wh: Some(watt_hours), ..Energy::default() }
    }

    fn table(cells: &[Cell]) -> Table {
        let context = context(&["rotation"], &["Ours", "VICReg", "SIE(rot)"]);
        tables(section("cost", Group::Training), &Values::at_end(cells), &context).remove(0)
    }

    fn means(row: &Row) -> Vec<Option<f64>> {
        let mean = |entry: &TableEntry| match entry {
            TableEntry::Estimate { summary, .. } => Some(summary.mean),
            _ => None,
        };
        row.entries.iter().map(mean).collect()
    }

    #[test]
    fn energies_stand_beside_times_and_a_cause_is_said_once() {
        let none = || Energy::not_available("no counters");
        let cells = [
            training("Ours", 0, processors(0.25)),
            training("Ours", 1, processors(0.75)),
            training("VICReg", 0, none()),
            training("SIE(rot)", 0, none()),
            // its time is that of the last call
            Cell { resumed: true, energy: None, ..training("Ours", 2, none()) },
        ];
        let table = table(&cells);
        let columns = ["seconds", "views per second", "Wh (processors)", "Wh per million views (processors)"];
        assert_eq!(table.columns, columns);
        assert_eq!(means(&table.rows[0]), [Some(2.0), Some(500.0), Some(0.5), Some(500.0)]);
        assert_eq!(means(&table.rows[1]), [Some(2.0), Some(500.0), None, None]);
        assert_eq!(table.rows.len(), 3);
        let said: Vec<&Note> =
            table.notes.iter().filter(|note| format!("{note:?}").contains("no counters")).collect();
        assert_eq!(said, [&Note::Plain("Energy not available: no counters.".to_owned())]);
    }

    #[test]
    fn energies_of_different_things_have_columns_of_their_own() {
        let nodes = Energy { nodes_wh: Some(3.0), ..Energy::default() };
        let table = table(&[training("Ours", 0, processors(1.0)), training("Ours", 1, nodes)]);
        assert_eq!(table.columns.len(), 6);
        assert_eq!(means(&table.rows[0])[2..], [Some(3.0), Some(3000.0), Some(1.0), Some(1000.0)]);
    }

    /// Cells of earlier versions do not say how many views they are of.
    #[test]
    fn trainings_without_views_have_no_table() {
        let context = context(&["rotation"], &["Ours"]);
        let text = rendered(&[pretrain("Ours", 0, &[(10, 1.0)])], &context, "markdown");
        assert!(!text.contains("Cost of the trainings"), "{text}");
        let text = rendered(&[training("Ours", 0, processors(1.0))], &context, "markdown");
        assert!(text.contains("Cost of the trainings") && text.contains("Wh (processors)"), "{text}");
    }
}
