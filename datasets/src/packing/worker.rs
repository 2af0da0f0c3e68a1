//! Converting one member to the bytes that the pack stores.

use image::RgbImage;

use super::slot::{Role, Slot, SlotUse};
use super::spec::Resize;
use super::spool::{Outcome, SpooledImage};
use crate::images::decode::{decode, decode_mask};
use crate::images::encode::{encode_jpeg, encode_mask};
use crate::images::resize::{
    Filter, resize_mask_short_side, resize_mask_square, resize_short_side, resize_square,
};
use crate::sources::{Records, read_latents};

/// JPEG quality of resized images.
const JPEG_QUALITY: u8 = 95;

/// How members are converted.
pub(super) struct Worker {
    pub records: Option<Records>,
    pub resize: Resize,
    /// The side that all images must have, unless they are resized.
    pub side: Option<usize>,
}

/// An image or mask in the form that the pack stores.
#[derive(Default)]
struct Converted {
    bytes: Vec<u8>,
    /// Height and width as stored.
    size: [u32; 2],
    /// Height and width in the source.
    original: [u32; 2],
    moments: Moments,
    pixels: bool,
    largest_id: u8,
}

/// Per-channel sums and sums of squares.
type Moments = ([u64; 3], [u64; 3]);

impl Worker {
    /// Outcome and bytes for each slot of a member. `bytes` is the member's content, or the reason why it
    /// cannot be read.
    pub fn results(
        &self,
        path: &str,
        bytes: &Result<Vec<u8>, String>,
        uses: &[SlotUse],
    ) -> Vec<(Slot, Outcome, Vec<u8>)> {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(reason) => {
                let bad = |used: &SlotUse| (used.slot, Outcome::Bad { reason: reason.clone() }, Vec::new());
                return uses.iter().map(bad).collect();
            }
        };
        let source = blake3::hash(bytes).to_hex().to_string();
        let numbered = uses.iter().any(|used| used.record.is_some());
        let records = self.records.filter(|_| numbered).map(|read| read(path, bytes));
        let result = |used: &SlotUse| {
            let converted = match (used.slot.2, used.record, &records) {
                (Role::Latents, ..) => match read_latents(bytes) {
                    Ok(values) => {
                        return (used.slot, Outcome::Latents { values, source: source.clone() }, Vec::new());
                    }
                    Err(reason) => Err(reason),
                },
                (Role::Mask, ..) => self.mask(bytes),
                (Role::Image, Some(record), Some(Ok(images))) => match images.get(record) {
                    Some(image) => self.pixels(image.clone()),
                    None => Err(format!("image {record} of {}", images.len())),
                },
                (Role::Image, Some(_), Some(Err(reason))) => Err(reason.clone()),
                (Role::Image, ..) => self.file(bytes),
            };
            match converted {
                Err(reason) => (used.slot, Outcome::Bad { reason }, Vec::new()),
                Ok(Converted { bytes, size, original, moments: (sums, squares), pixels, largest_id }) => {
                    let (hash, source) = (blake3::hash(&bytes).to_hex().to_string(), source.clone());
                    let length = bytes.len() as u64;
                    let stored = SpooledImage {
                        bytes: length,
                        size,
                        original,
                        largest_id,
                        pixels,
                        sums,
                        squares,
                        hash,
                        source,
                    };
                    (used.slot, Outcome::Stored(stored), bytes)
                }
            }
        };
        uses.iter().map(result).collect()
    }

    /// Converts an image file.
    fn file(&self, bytes: &[u8]) -> Result<Converted, String> {
        let image = decode(bytes)?;
        let original = size(&image);
        let (image, bytes) = match (self.resize, self.side) {
            (Resize::Square(_), _) => return self.pixels(image),
            (Resize::Keep, Some(side)) if original == [side as u32; 2] => return self.pixels(image),
            (Resize::Keep, Some(side)) => {
                let [height, width] = original;
                return Err(format!("{width} x {height} pixels, expected {side} x {side}"));
            }
            (Resize::ShortSide(side), _) if original[0].min(original[1]) > side as u32 => {
                let image = resize_short_side(&image, side as u32, Filter::Bicubic)?;
                let bytes = encode_jpeg(&image, JPEG_QUALITY)?;
                (image, bytes)
            }
            _ => (image, bytes.to_vec()),
        };
        Ok(Converted {
            bytes,
            size: size(&image),
            original,
            moments: moments(&image),
            ..Converted::default()
        })
    }

    /// Converts an image to a pixel array.
    fn pixels(&self, image: RgbImage) -> Result<Converted, String> {
        let original = size(&image);
        let image = match self.resize {
            Resize::Square(side) => resize_square(&image, side as u32, Filter::Bilinear)?,
            _ => image,
        };
        let (size, moments) = (size(&image), moments(&image));
        Ok(Converted { size, original, moments, bytes: image.into_raw(), pixels: true, largest_id: 0 })
    }

    /// Converts a mask. It is cropped and resized like its image.
    fn mask(&self, bytes: &[u8]) -> Result<Converted, String> {
        let mask = decode_mask(bytes)?;
        let original = [mask.height(), mask.width()];
        let largest_id = mask.iter().copied().max().unwrap_or(0);
        let common = Converted { original, largest_id, ..Converted::default() };
        Ok(match self.resize {
            Resize::Square(side) => {
                let bytes = resize_mask_square(&mask, side as u32)?.into_raw();
                Converted { bytes, size: [side as u32; 2], pixels: true, ..common }
            }
            Resize::ShortSide(side) if original[0].min(original[1]) > side as u32 => {
                let mask = resize_mask_short_side(&mask, side as u32)?;
                Converted { bytes: encode_mask(&mask)?, size: [mask.height(), mask.width()], ..common }
            }
            _ => Converted { bytes: bytes.to_vec(), size: original, ..common },
        })
    }
}

fn size(image: &RgbImage) -> [u32; 2] {
    [image.height(), image.width()]
}

fn moments(image: &RgbImage) -> Moments {
    let mut moments = Moments::default();
    for pixel in image.pixels() {
        for channel in 0..3 {
            let value = u64::from(pixel.0[channel]);
            moments.0[channel] += value;
            moments.1[channel] += value * value;
        }
    }
    moments
}
