//! An X-ray as JSON: what it is of, and every reading.

use serde::Serialize;

use crate::cli::xray::picture::Picture;
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::xray::Xray;

#[derive(Serialize)]
struct Whole<'a> {
    encoder: &'a Option<EncoderDescription>,
    data: &'a str,
    #[serde(flatten)]
    xray: &'a Xray,
}

/// The X-ray as a JSON object.
///
/// # Errors
/// None in practice: every value is a number or text.
pub fn text(Picture { description, data, xray, .. }: &Picture) -> serde_json::Result<String> {
    let whole = Whole { encoder: description, data, xray };
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}
