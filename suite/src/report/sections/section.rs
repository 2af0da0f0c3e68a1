//! A section of the report.

use crate::registry::{SEGMENTATION_TABLE, TRANSFER_TABLE};
use crate::report::context::ReportContext;
use crate::report::table::{Layout, Note, Row, Table};
use crate::report::values::Values;

/// A line of the table of sections.
pub struct Section {
    /// Name in the CSV of tables.
    pub name: &'static str,
    /// Title of its table. A section with several tables adds to their titles what distinguishes them.
    pub title: &'static str,
    /// Data that its tables are about.
    pub group: Group,
    /// Makes its tables. Tables without a value are left out of the report.
    pub tables: fn(&Section, &Values, &ReportContext) -> Vec<Table>,
}

/// Sections about the same data. The sections of a group follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The data that the encoders were trained on.
    Training,
    /// Data sets that are classified.
    Transfer,
    /// Data sets that are segmented.
    Segmentation,
    /// The choices behind all numbers.
    Protocol,
}

impl Group {
    /// Number of the paper's table that the group mirrors.
    pub fn paper_table(self, context: &ReportContext) -> Option<u8> {
        match self {
            Group::Training => {
                context.table.filter(|number| ![TRANSFER_TABLE, SEGMENTATION_TABLE].contains(number))
            }
            Group::Transfer => Some(TRANSFER_TABLE),
            Group::Segmentation => Some(SEGMENTATION_TABLE),
            Group::Protocol => None,
        }
    }
}

impl Section {
    /// A table of this section with its title, with the methods in rows.
    pub fn table(&self, stub: &'static str, columns: Vec<String>, rows: Vec<Row>, notes: Vec<Note>) -> Table {
        Table {
            section: self.name,
            layout: Layout::MethodsInRows,
            title: self.title.to_owned(),
            stub,
            columns,
            rows,
            notes,
        }
    }
}
