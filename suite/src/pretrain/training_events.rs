//! The training curve as TensorBoard's events. Nothing depends on them, so a folder that cannot be written to
//! is said and ends no training.

use std::io;
use std::path::PathBuf;

use crate::console::say;
use crate::pretrain::event_file::EventFile;
use crate::run_folder::cell::CurvePoint;

/// The events of a training, if they are wanted.
pub struct TrainingEvents {
    /// Where they go; `None` if they are not wanted or cannot be written.
    folder: Option<PathBuf>,
    file: Option<EventFile>,
}

impl TrainingEvents {
    /// Events for a file in `folder`, which is made with the first points.
    pub fn new(folder: Option<PathBuf>) -> Self {
        TrainingEvents { folder, file: None }
    }

    /// Appends the points.
    pub fn write(&mut self, points: &[CurvePoint]) {
        let Some(folder) = &self.folder else { return };
        let mut write = || -> io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                empty => empty.insert(EventFile::create(folder)?),
            };
            points.iter().try_for_each(|point| write_point(file, point))
        };
        if let Err(error) = write() {
            say(&format!("note: no events for TensorBoard: cannot write to {}: {error}", folder.display()));
            self.folder = None;
        }
    }
}

fn write_point(file: &mut EventFile, point: &CurvePoint) -> io::Result<()> {
    let CurvePoint { step, terms, gradient_norm, encoder_gradient } = point;
    let in_group = |group: &str, name: &str| format!("{group}/{name}");
    let terms = terms.iter().map(|(name, value)| match name.as_str() {
        "loss" => ("loss".to_owned(), *value),
        name => (in_group("terms", name), *value),
    });
    let norm = gradient_norm.iter().map(|norm| ("gradient norm".to_owned(), *norm));
    let gradient = encoder_gradient.iter().map(|(name, value)| (in_group("encoder gradient", name), *value));
    let values: Vec<(String, f64)> = terms.chain(norm).chain(gradient).collect();
    file.write(*step, values.iter().map(|(name, value)| (name.as_str(), *value)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_to_ends_nothing() {
        let point = CurvePoint {
            step: 5,
            terms: BTreeMap::from([("loss".to_owned(), 1.0)]),
            gradient_norm: Some(2.0),
            encoder_gradient: BTreeMap::new(),
        };
        let place = tempfile::NamedTempFile::new().unwrap();
        let mut events = TrainingEvents::new(Some(place.path().join("below a file")));
        events.write(std::slice::from_ref(&point));
        assert!(events.folder.is_none());
        TrainingEvents::new(None).write(&[point]);
    }
}
