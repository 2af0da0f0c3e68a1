//! The X-rays of a run: a section of its page, and a CSV for each encoder.

use std::path::PathBuf;

use anyhow::Result;
use maud::{Markup, html};

use crate::report::xray::maps::{Heading, maps};
use crate::report::xray::readings_csv;
use crate::run_folder::cell::Cell;
use crate::run_folder::layout;
use crate::run_folder::xray::Xray;

/// The X-ray of a row.
pub struct RowXray<'a> {
    /// Key of the data set, if the suite has several.
    pub part: Option<&'a str>,
    /// The row.
    pub method: &'a str,
    /// Its pretraining seed, if it was trained in the run.
    pub seed: Option<u64>,
    /// What was read.
    pub xray: &'a Xray,
}

impl<'a> RowXray<'a> {
    /// Those of `cells`, in their order.
    pub fn all(cells: &'a [Cell]) -> Vec<RowXray<'a>> {
        let of_cell = |cell: &'a Cell| {
            let seed = (!cell.external).then_some(cell.pretrain_seed);
            let (part, method) = (cell.data_set.as_deref(), &cell.method);
            cell.xray.as_ref().map(|xray| RowXray { part, method, seed, xray })
        };
        cells.iter().filter_map(of_cell).collect()
    }

    fn title(&self) -> String {
        let seed = self.seed.map(|seed| format!(", pretraining seed {seed}")).unwrap_or_default();
        format!("{}{seed}", self.method)
    }
}

/// A part for each row, which opens by its title.
pub fn markup(rows: &[RowXray]) -> Markup {
    html! {
        @for row in rows {
            details {
                summary { (row.title()) }
                p.meta { (row.xray.counts()) }
                (maps(row.xray, Heading::H4))
            }
        }
    }
}

/// `tables/<id>.csv` for each cell with an X-ray.
///
/// # Errors
/// Those of the writer of CSV.
pub fn files(cells: &[Cell]) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let with_xray = cells.iter().filter_map(|cell| Some((&cell.id, cell.xray.as_ref()?)));
    let file =
        |(id, xray): (&String, &Xray)| Ok((layout::xray_table(id), readings_csv::text(xray)?.into_bytes()));
    with_xray.map(file).collect()
}
