//! The floors of encoders that were trained elsewhere: rows of the same architectures with random weights.

use std::path::Path;

use crate::encoder::file_format::{is_module, untrained_module};
use crate::suite_file::data_sets::SubSuite;

/// Adds a floor behind every row of an encoder that wants one. A module has none if its author wrote no
/// random weights, since this program cannot build it anew. A row of the floor's name that the suite has
/// itself takes its place.
pub(super) fn add(sub_suites: &mut [SubSuite]) {
    for rows in sub_suites.iter_mut().map(|sub_suite| &mut sub_suite.suite.rows) {
        let own: Vec<String> = rows.iter().map(|row| row.slug()).collect();
        let with_floor = std::mem::take(rows).into_iter().flat_map(|row| {
            let has_floor = |encoder: &Path| !is_module(encoder) || untrained_module(encoder).is_some();
            let floor = (row.floor && row.encoder.as_deref().is_some_and(has_floor))
                .then(|| row.with_random_weights());
            let floor = floor.filter(|floor| !own.contains(&floor.slug()));
            std::iter::once(row).chain(floor)
        });
        *rows = with_floor.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::data_sets::load;
    use crate::suite_file::external_rows::ExternalRow;

    #[test]
    fn encoders_that_can_be_built_have_a_floor() {
        let folder = tempfile::tempdir().unwrap();
        let row = |name: &str, file: &str| ExternalRow::from_file(name, folder.path().join(file));
        let rows = [
            row("ViT", "vit.safetensors"),
            ExternalRow { floor: false, ..row("Bare", "vit.safetensors") },
            row("Values", "values.csv"),
            row("DINO", "dino.safetensors"),
            row("DINO, random weights", "own.csv"),
        ];
        let mut sub_suites = load("quickstart", &[], &rows).unwrap();
        add(&mut sub_suites);
        let names: Vec<&str> = sub_suites[0].suite.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["ViT", "ViT, random weights", "Bare", "Values", "DINO", "DINO, random weights"]);
        assert!(sub_suites[0].suite.rows[1].has_random_weights);
    }
}
