//! One member to what the pack stores of it.

use image::RgbImage;

use super::spool::{Outcome, Stored};
use super::{Resize, Role, Slot, Use};
use crate::sources::decode::{decode, decode_mask};
use crate::sources::encode::{encode_jpeg, encode_mask};
use crate::sources::resize::{Filter, resize_mask_short_side, resize_mask_square, resize_short_side, resize_square};
use crate::sources::{Records, read_latents};

/// Quality of the JPEG files of resized images.
const QUALITY: u8 = 95;

/// What is done with a member.
pub(super) struct Worker {
    pub records: Option<Records>,
    pub resize: Resize,
    /// The side that all images have and keep.
    pub side: Option<usize>,
}

/// Bytes to store.
#[derive(Default)]
struct Product {
    bytes: Vec<u8>,
    /// Height and width, as stored and in the source.
    size: [u32; 2],
    original: [u32; 2],
    moments: Moments,
    pixels: bool,
    largest_id: u8,
}

/// Sums and sums of squares of three channels.
type Moments = ([u64; 3], [u64; 3]);

impl Worker {
    /// What is spooled for each of the `uses` of a member, whose bytes are there or cannot be read.
    pub fn results(&self, path: &str, bytes: &Result<Vec<u8>, String>, uses: &[Use]) -> Vec<(Slot, Outcome, Vec<u8>)> {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(reason) => {
                let bad = |wanted: &Use| (wanted.slot, Outcome::Bad { reason: reason.clone() }, Vec::new());
                return uses.iter().map(bad).collect();
            }
        };
        let source = blake3::hash(bytes).to_hex().to_string();
        let records =
            self.records.filter(|_| uses.iter().any(|wanted| wanted.record.is_some())).map(|read| read(path, bytes));
        let one = |wanted: &Use| {
            let made = match (wanted.slot.2, wanted.record, &records) {
                (Role::Latents, ..) => match read_latents(bytes) {
                    Ok(values) => {
                        return (wanted.slot, Outcome::Latents { values, source: source.clone() }, Vec::new());
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
            match made {
                Err(reason) => (wanted.slot, Outcome::Bad { reason }, Vec::new()),
                Ok(Product { bytes, size, original, moments: (sums, squares), pixels, largest_id }) => {
                    let (hash, source) = (blake3::hash(&bytes).to_hex().to_string(), source.clone());
                    let length = bytes.len() as u64;
                    let stored =
                        Stored { bytes: length, size, original, largest_id, pixels, sums, squares, hash, source };
                    (wanted.slot, Outcome::Stored(stored), bytes)
                }
            }
        };
        uses.iter().map(one).collect()
    }

    /// An image that is a file.
    fn file(&self, bytes: &[u8]) -> Result<Product, String> {
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
                let bytes = encode_jpeg(&image, QUALITY)?;
                (image, bytes)
            }
            _ => (image, bytes.to_vec()),
        };
        Ok(Product { bytes, size: size(&image), original, moments: moments(&image), ..Product::default() })
    }

    /// An image as an array.
    fn pixels(&self, image: RgbImage) -> Result<Product, String> {
        let original = size(&image);
        let image = match self.resize {
            Resize::Square(side) => resize_square(&image, side as u32, Filter::Bilinear)?,
            _ => image,
        };
        let (size, moments) = (size(&image), moments(&image));
        Ok(Product { size, original, moments, bytes: image.into_raw(), pixels: true, largest_id: 0 })
    }

    /// A mask, cut and resized as its image.
    fn mask(&self, bytes: &[u8]) -> Result<Product, String> {
        let mask = decode_mask(bytes)?;
        let original = [mask.height(), mask.width()];
        let largest_id = mask.iter().copied().max().unwrap_or(0);
        let common = Product { original, largest_id, ..Product::default() };
        Ok(match self.resize {
            Resize::Square(side) => {
                let bytes = resize_mask_square(&mask, side as u32)?.into_raw();
                Product { bytes, size: [side as u32; 2], pixels: true, ..common }
            }
            Resize::ShortSide(side) if original[0].min(original[1]) > side as u32 => {
                let mask = resize_mask_short_side(&mask, side as u32)?;
                Product { bytes: encode_mask(&mask)?, size: [mask.height(), mask.width()], ..common }
            }
            _ => Product { bytes: bytes.to_vec(), size: original, ..common },
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
