//! X-rays for readers: heat maps as markup, readings as CSV, and those of a run.

pub mod heat;
pub mod maps;
pub mod of_run;
pub mod readings_csv;
