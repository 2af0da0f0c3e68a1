//! The encoder from a file that was opened last. The measurements of an encoder follow each other, so it is
//! opened once for those that read it alike, and no more than one is held in memory.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use tch::Device;

use crate::encoder::frozen::FrozenEncoder;
use crate::suite_file::encoder_options::EncoderOptions;
use crate::suite_file::external_rows::ExternalRow;

/// What decides how an encoder reads images.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    file: PathBuf,
    options: EncoderOptions,
    /// Side of the images that was asked for.
    side: Option<usize>,
    /// Whether its weights are replaced by random ones.
    has_random_weights: bool,
}

/// Holds the encoder.
#[derive(Default)]
pub(super) struct LastEncoder(RefCell<Option<(Reading, Rc<FrozenEncoder>)>>);

impl LastEncoder {
    /// The encoder of `row` for images of `side` pixels, or of the side that its file gives.
    ///
    /// # Errors
    /// A row without an encoder; those of [`FrozenEncoder::open`].
    pub(super) fn open(
        &self,
        row: &ExternalRow,
        side: Option<usize>,
        device: Device,
    ) -> Result<Rc<FrozenEncoder>> {
        let file = encoder_file(row)?;
        let (options, has_random_weights) = (row.options.clone(), row.has_random_weights);
        let reading = Reading { file: file.to_owned(), options, side, has_random_weights };
        self.get(reading, || with_weights_of(row, FrozenEncoder::open(file, &row.options, side, device)?))
    }

    fn get(
        &self,
        reading: Reading,
        open: impl FnOnce() -> Result<FrozenEncoder>,
    ) -> Result<Rc<FrozenEncoder>> {
        if let Some((_, encoder)) = self.0.borrow().as_ref().filter(|(last, _)| *last == reading) {
            return Ok(encoder.clone());
        }
        // two are not held at a time
        self.forget();
        let encoder = Rc::new(open()?);
        *self.0.borrow_mut() = Some((reading, encoder.clone()));
        Ok(encoder)
    }

    /// Frees its memory.
    pub(super) fn forget(&self) {
        *self.0.borrow_mut() = None;
    }
}

/// The encoder, or its architecture with random weights if the row is a floor.
fn with_weights_of(row: &ExternalRow, encoder: FrozenEncoder) -> Result<FrozenEncoder> {
    if !row.has_random_weights {
        return Ok(encoder);
    }
    encoder.untrained()?.with_context(|| format!("{}: the module's random weights are gone", row.name))
}

fn encoder_file(row: &ExternalRow) -> Result<&Path> {
    row.encoder.as_deref().context("the row has no encoder")
}
