//! How much of the spread of the headline values is the methods', the seeds' and noise.

use super::section::Section;
use super::{scores, segmentation, transfer};
use crate::report::blocks::Blocks;
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::{Sample, Values};

/// One row per headline for which at least three methods share their pretraining seeds.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let mut headlines = scores::headline_columns(values, context);
    headlines.extend(transfer::linear_columns(values, context));
    headlines.extend(segmentation::headline_columns(values, context));
    let columns = ["methods", "seeds", "F of the methods", "p", "std of seeds", "std of noise"];
    let note = "The value of a method and seed as method + seed + noise, with the same noise for all \
                methods: F tests whether all methods are equal. Std of seeds: of what a seed adds to every \
                method, 0 if no more than noise. The methods are those that share the seeds of the method \
                with the most; floor and ceiling aside.";
    let rows = headlines.iter().filter_map(|column| row(column, context)).collect();
    let columns = columns.map(str::to_owned).to_vec();
    vec![section.table("column", columns, rows, vec![Note::Plain(note.to_owned())])]
}

fn row(column: &Column, context: &ReportContext) -> Option<Row> {
    let contestants = column.samples.iter().filter(|method| method.role == Role::Contestant);
    let samples = contestants.filter_map(|method| method.sample.as_ref());
    // the first of those with the most seeds
    let reference = samples.rev().max_by_key(|sample| sample.values().len())?;
    let sample = |method: &str| column.sample(method).cloned();
    let blocks = Blocks::new(&context.methods, reference, sample)?;
    let (methods, seeds) = (blocks.methods.len(), Sample::values(reference).len());
    let (noise, of_seeds) = (blocks.analysis.residual.mean_square(), blocks.analysis.seeds.mean_square());
    let seed_variance = ((of_seeds - noise) / methods as f64).max(0.0);
    let entries = vec![
        TableEntry::Text(methods.to_string()),
        TableEntry::Text(seeds.to_string()),
        blocks.analysis.f.map_or(TableEntry::Missing, TableEntry::Number),
        blocks.analysis.p.map_or(TableEntry::Missing, TableEntry::Probability),
        TableEntry::Share(seed_variance.sqrt()),
        TableEntry::Share(noise.sqrt()),
    ];
    Some(Row { label: column.heading(), role: Role::Contestant, entries })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::numbers::Numbers;

    /// Rows (1, 2, 6), (2, 5, 8), (3, 8, 4): F = 4/5 and p = (1 + F/2)^-2 = 0.5102; the mean square of the
    /// seeds is 13, that of the noise 5, and (13 - 5) / 3 = 1.633^2. A method of other seeds is left out.
    #[test]
    fn the_layout_is_that_of_the_methods_with_the_same_seeds() {
        let context = context(
            &["rotation"],
            &["Random init", "Ours", "VICReg", "SimCLR", "SIE(rot)", "Direct regression"],
        );
        let of = |method: &str, values: &[f64]| {
            let cell = |(seed, r2): (usize, &f64)| {
                probe(method, seed as u64, &[value("rotation", "r2_per_output", 0, *r2)])
            };
            values.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        let cells = [
            of("Random init", &[0.0, 0.1, 0.2]),
            of("Ours", &[1.0, 2.0, 6.0]),
            of("VICReg", &[2.0, 5.0, 8.0]),
            of("SimCLR", &[3.0, 8.0, 4.0]),
            of("SIE(rot)", &[3.0, 8.0]),
        ];
        let section = section("blocks", Group::Training);
        let table = (section.tables)(section, &Values::at_end(&cells.concat()), &context).remove(0);
        let [row] = &table.rows[..] else { panic!("{table:?}") };
        let words: Vec<String> =
            row.entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect();
        assert_eq!(words, ["3", "3", "0.800", "0.5102", "1.633", "2.236"]);
    }
}
