//! What the reconstruction depends on: its error with both views, and with either view taken from another
//! image.

use super::encoder_gradient::reconstruction_share;
use super::section::Section;
use crate::registry::{MSE_MEAN_IMAGE, MSE_OTHER_VIEW1, MSE_OTHER_VIEW2, MSE_OWN, Measure, shown_in};
use crate::report::context::ReportContext;
use crate::report::numbers::{Unit, number};
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Sample, Values};

/// View 1 is used if view 1 of another image raises the error by more than this share.
const USED: f64 = 0.02;

/// Test errors of the methods that reconstruct, and whether they use view 1.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let rows: Vec<Row> = context.methods.iter().filter_map(|method| row(section, values, method)).collect();
    let notes = [
        "Mean squared error of the normalised view 2 on test pairs, mean ± standard deviation [95% interval] over \
         pretraining seeds.",
        "other view 1: keys and values come from another image; other view 2: the queries do.",
    ];
    let notes = notes.map(str::to_owned).into_iter();
    let notes = notes.chain(sentences(values, context));
    let headings = shown_in(section.name).map(|measure| measure.heading.to_owned()).collect();
    vec![section.table("method", headings, rows, notes.map(Note::Plain).collect())]
}

/// What the reconstruction of every method uses, in words.
pub fn sentences(values: &Values, context: &ReportContext) -> Vec<String> {
    context.methods.iter().filter_map(|method| sentence(values, method)).collect()
}

/// `None` if the method does not reconstruct.
fn sentence(values: &Values, method: &str) -> Option<String> {
    let mean = |measure: Measure| Some(values.summary(method, measure.family.name(), measure.metric)?.mean);
    let [own, other1, other2, image] =
        [mean(MSE_OWN)?, mean(MSE_OTHER_VIEW1)?, mean(MSE_OTHER_VIEW2)?, mean(MSE_MEAN_IMAGE)?];
    let change = other1 / own - 1.0;
    let verdict = if change > USED { "view 1 is used" } else { "view 1 is ignored" };
    let share = reconstruction_share(values, method)
        .map(|share| {
            format!(
                " The norm of its gradient in the encoder is {:.0}% of the sum over all terms.",
                100.0 * share
            )
        })
        .unwrap_or_default();
    Some(format!(
        "{method}: {verdict}. The error is {} with its own pair, {} with another view 1 ({:+.0}%), {} with \
         another view 2, and {} for the mean image.{share}",
        number(own),
        number(other1),
        100.0 * change,
        number(other2),
        number(image),
    ))
}

fn row(section: &Section, values: &Values, method: &str) -> Option<Row> {
    let entry = |measure: &Measure| {
        let sample = values.sample(method, &Quantity::probed(measure.family.name(), measure.metric));
        match sample.map(Sample::values) {
            Some(values) => TableEntry::estimate(values.clone(), Mark::None, values.len() == 1, Unit::Other),
            None => TableEntry::Missing,
        }
    };
    let entries: Vec<TableEntry> = shown_in(section.name).map(entry).collect();
    let measured = entries.iter().any(|entry| !matches!(entry, TableEntry::Missing));
    measured.then(|| Row { label: method.to_owned(), role: Role::from_row(method), entries })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::numbers::Numbers;

    #[test]
    fn only_methods_that_reconstruct_have_a_row() {
        let context = context(&["rotation"], &["Ours", "VICReg"]);
        let cells = [
            probe("Ours", 0, &[value("reconstruction", "mse_own", 0, 0.11)]),
            probe("VICReg", 0, &[value("rotation", "r2_per_output", 0, 0.4)]),
        ];
        let found =
            tables(section("reconstruction", Group::Training), &Values::at_end(&cells), &context).remove(0);
        assert_eq!(found.rows.len(), 1);
        assert_eq!(found.rows[0].entries[0].words(Numbers::default()), ["0.110", "(n = 1)"]);
        assert!(matches!(found.rows[0].entries[1], TableEntry::Missing));
    }
    #[test]
    fn the_sentence_says_whether_view_1_is_used() {
        let errors = |own, other1| {
            let metrics = [("mse_own", own), ("mse_other_view1", other1), ("mse_other_view2", 1.6)];
            let metrics = metrics.into_iter().chain([("mse_mean_image", 1.0)]);
            let values: Vec<_> =
                metrics.map(|(metric, number)| value("reconstruction", metric, 0, number)).collect();
            Values::at_end(&[probe("Ours", 0, &values)])
        };
        let used = sentence(&errors(0.30, 0.36), "Ours").unwrap();
        let says =
            "Ours: view 1 is used. The error is 0.300 with its own pair, 0.360 with another view 1 (+20%)";
        assert!(used.starts_with(says), "{used}");
        let ignored = sentence(&errors(0.406, 0.407), "Ours").unwrap();
        assert!(ignored.starts_with("Ours: view 1 is ignored."), "{ignored}");
        assert!(sentence(&errors(0.3, 0.3), "VICReg").is_none());
    }
}
