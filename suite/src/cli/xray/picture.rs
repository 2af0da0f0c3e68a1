//! What the forms of an X-ray show.

use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::xray::Xray;

/// An X-ray and what it is of.
pub(super) struct Picture {
    /// Path of the encoder.
    pub(super) encoder: String,
    pub(super) description: Option<EncoderDescription>,
    /// Name of the data set.
    pub(super) data: String,
    pub(super) xray: Xray,
}

impl Picture {
    /// What was seen, in a line.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.data, self.xray.counts())
    }
}
