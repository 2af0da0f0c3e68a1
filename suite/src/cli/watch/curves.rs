//! The loss curves of a run: of the trainings that are not finished, from its log; of the others, from their
//! cells.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;

/// Beginning of the ids of trainings.
const PRETRAIN: &str = "pretrain-";

/// The loss curve of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The training.
    pub name: String,
    /// Steps taken.
    pub step: u64,
    /// Losses, from the first to the last.
    pub losses: Vec<f64>,
}

/// What the log of a run says about work that has no cell yet.
#[derive(Debug, Default, PartialEq)]
pub struct Logged {
    /// The cells that the calls so far have planned, by data set.
    planned: BTreeMap<Option<String>, u64>,
    /// Step and loss of every point, by training.
    points: BTreeMap<String, Vec<(u64, f64)>>,
}

/// A line of the log; most have only some of these keys.
#[derive(Deserialize)]
struct Line {
    cell: Option<String>,
    step: Option<u64>,
    terms: Option<BTreeMap<String, f64>>,
    planned: Option<u64>,
    data_set: Option<String>,
}

impl Logged {
    /// Reads the log of a run.
    ///
    /// # Errors
    /// A log that cannot be read. A run without a log has logged nothing.
    pub fn read(folder: &RunFolder) -> Result<Logged> {
        let path = folder.path(layout::LOG);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Logged::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Logged::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Logged {
        let mut logged = Logged::default();
        // the last line may be half-written
        for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            if let Some(planned) = line.planned {
                logged.planned.insert(line.data_set, planned);
            } else if let (Some(cell), Some(step), Some(terms)) = (line.cell, line.step, line.terms) {
                let points = logged.points.entry(cell).or_default();
                // a training that goes on from a checkpoint takes some steps again
                points.retain(|(before, _)| *before < step);
                points.extend(terms.get("loss").map(|loss| (step, *loss)));
            }
        }
        logged
    }

    /// Number of cells that the run will have; `None` if the log does not say it.
    pub fn planned(&self) -> Option<u64> {
        (!self.planned.is_empty()).then(|| self.planned.values().sum())
    }

    /// The trainings that are neither finished nor failed.
    pub fn unfinished(&self, folder: &RunFolder) -> Vec<Curve> {
        let is_open = |id: &String| !folder.has_cell(id) && !folder.path(layout::failed_cell(id)).is_file();
        let open = self.points.iter().filter(|(id, points)| is_open(id) && !points.is_empty());
        open.map(|(id, points)| Curve {
            name: name(id),
            step: points.last().map_or(0, |(step, _)| *step),
            losses: points.iter().map(|(_, loss)| *loss).collect(),
        })
        .collect()
    }
}

/// The last finished training of every method on every data set.
pub fn finished(cells: &[Cell]) -> Vec<Curve> {
    let mut last: BTreeMap<(&Option<String>, &str), &Cell> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && !cell.curve.is_empty()) {
        let of_method = last.entry((&cell.data_set, &cell.method)).or_insert(cell);
        if cell.pretrain_seed > of_method.pretrain_seed {
            *of_method = cell;
        }
    }
    let loss = |cell: &Cell| cell.curve.iter().filter_map(|point| point.terms.get("loss")).copied().collect();
    last.into_values()
        .map(|cell| Curve { name: name(&cell.id), step: cell.step, losses: loss(cell) })
        .collect()
}

fn name(id: &str) -> String {
    id.strip_prefix(PRETRAIN).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::pretrain;

    #[test]
    fn the_log_tells_of_trainings_that_have_no_cell() {
        let point = |step: u64, loss: f64| {
            format!("{{\"cell\":\"pretrain-ours-seed0\",\"step\":{step},\"terms\":{{\"loss\":{loss}}}}}\n")
        };
        // the training was stopped after step 6 and went on from step 4
        let text = ["{\"data_set\":null,\"planned\":4}\n".to_owned(), point(2, 3.0), point(4, 2.0)].concat()
            + &[point(6, 1.5), "{\"cell\":\"pretrain-ours-seed0\",\"epoch\":1,\"step\":6}\n".to_owned()]
                .concat()
            + &point(6, 1.25)
            + "{\"cell\":\"pretrain-o";
        let logged = Logged::parse(&text);
        let place = tempfile::tempdir().unwrap();
        let curve = Curve { name: "ours-seed0".to_owned(), step: 6, losses: vec![3.0, 2.0, 1.25] };
        let folder = RunFolder::new(place.path());
        assert_eq!((logged.planned(), logged.unfinished(&folder)), (Some(4), vec![curve]));
        let failed = folder.path(layout::failed_cell("pretrain-ours-seed0"));
        fs::create_dir_all(failed.parent().unwrap()).unwrap();
        fs::write(failed, "{}").unwrap();
        assert_eq!(logged.unfinished(&folder), []);
        assert_eq!(Logged::read(&folder).unwrap(), Logged::default());
    }

    #[test]
    fn of_each_method_the_last_training_is_shown() {
        let cells = [pretrain("Ours", 1, &[(10, 2.0), (20, 1.0)]), pretrain("Ours", 0, &[(10, 3.0)])];
        let curves = finished(&cells);
        assert_eq!(curves.len(), 1);
        assert_eq!((curves[0].step, &curves[0].losses), (cells[0].step, &vec![2.0, 1.0]));
    }
}
