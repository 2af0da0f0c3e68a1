//! The columns of a report that were asked for.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};

use super::formats::DataSetReport;
use crate::suite_file::suggestions::nearest;

/// Number of columns that an error names at most.
const NAMED: usize = 20;

/// Keeps these columns, in this order, and the tables that have any of them. Each text names one column or
/// several, separated by commas, by its heading (`rotation R2`) or by the beginning of it (`rotation`).
///
/// # Errors
/// A name that no table has as a column.
pub fn keep_columns(data_sets: &mut [DataSetReport], wanted: &[String]) -> Result<()> {
    let tables = data_sets.iter().flat_map(|data_set| &data_set.tables);
    let headings: BTreeSet<&str> =
        tables.flat_map(|table| table.columns.iter().map(String::as_str)).collect();
    let names = wanted.iter().map(|text| split(text, &headings)).collect::<Result<Vec<_>>>()?.concat();
    for data_set in data_sets {
        for table in &mut data_set.tables {
            let places: Vec<usize> = names
                .iter()
                .flat_map(|name| (0..table.columns.len()).filter(|&place| means(name, &table.columns[place])))
                .collect();
            table.columns = places.iter().map(|&place| table.columns[place].clone()).collect();
            for row in &mut table.rows {
                row.entries = places.iter().map(|&place| row.entries[place].clone()).collect();
            }
        }
        data_set.tables.retain(|table| !table.columns.is_empty());
    }
    Ok(())
}

/// The names in a text. Headings may contain commas.
fn split(text: &str, headings: &BTreeSet<&str>) -> Result<Vec<String>> {
    let is_heading = |name: &str| headings.iter().any(|heading| means(name, heading));
    if is_heading(text.trim()) {
        return Ok(vec![text.trim().to_owned()]);
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| !is_heading(name)) {
        Some(unknown) => Err(unknown_column(unknown, headings)),
        None => Ok(names),
    }
}

fn unknown_column(name: &str, headings: &BTreeSet<&str>) -> anyhow::Error {
    let beginnings = headings.iter().filter_map(|heading| Some(heading.rsplit_once(' ')?.0));
    let near = nearest(name, headings.iter().copied().chain(beginnings));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let some: Vec<&str> = headings.iter().take(NAMED).copied().collect();
    let others = if headings.len() > NAMED { "; .." } else { "" };
    anyhow!("no table has a column `{name}`\nhint: {near}columns are {}{others}", some.join("; "))
}

/// Whether a name is the heading, or words at its beginning, in letters of any case.
fn means(name: &str, heading: &str) -> bool {
    let (name, heading) = (name.to_lowercase(), heading.to_lowercase());
    !name.is_empty()
        && heading.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_heading_or_its_beginning() {
        let headings = BTreeSet::from(["classification top-1", "rotation R2", "Ours, no reconstruction"]);
        let names = |text| split(text, &headings).map_err(|error| error.to_string());
        assert_eq!(names("rotation, classification top-1").unwrap(), ["rotation", "classification top-1"]);
        assert_eq!(names("ours, no reconstruction").unwrap(), ["ours, no reconstruction"]);
        let error = names("rotation,clasification").unwrap_err();
        assert!(
            error.starts_with("no table has a column `clasification`\nhint: did you mean `classification"),
            "{error}"
        );
        assert!(names("rot").is_err() && names("").is_err());
    }
}
