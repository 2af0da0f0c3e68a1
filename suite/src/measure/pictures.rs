//! Writes tensors as pictures.

use std::path::Path;

use anyhow::{Result, ensure};
use image::{ImageBuffer, Rgb, RgbImage};
use tch::{Kind, Tensor};

use crate::run_folder::atomic_file::write_atomic;

const GAP: u32 = 4;

/// Approximate side to which small images are enlarged, in pixels.
const SIDE: u32 = 96;

/// Writes a PNG with one row of images per tensor (n, 3, H, W) in [0, 1], enlarged by an integer factor.
///
/// # Errors
/// A file that cannot be written.
pub fn rows(tensors: &[Tensor], path: &Path) -> Result<()> {
    ensure!(!tensors.is_empty(), "a picture needs images");
    let (columns, _, height, width) = tensors[0].size4()?;
    let zoom = (SIDE / width as u32).max(1);
    let (cell_w, cell_h) = (width as u32 * zoom + GAP, height as u32 * zoom + GAP);
    let mut canvas: RgbImage = ImageBuffer::from_pixel(
        columns as u32 * cell_w + GAP,
        tensors.len() as u32 * cell_h + GAP,
        Rgb([255; 3]),
    );
    for (row, images) in tensors.iter().enumerate() {
        let bytes =
            (images.clamp(0.0, 1.0) * 255.0).round().to_kind(Kind::Uint8).permute([0, 2, 3, 1]).contiguous();
        let bytes: Vec<u8> = Vec::try_from(bytes.to_device(tch::Device::Cpu).view([-1]))?;
        for (index, pixel) in bytes.chunks_exact(3).enumerate() {
            let (image, rest) = (index / (height * width) as usize, index % (height * width) as usize);
            let (y, x) = ((rest / width as usize) as u32, (rest % width as usize) as u32);
            let (left, top) = (GAP + image as u32 * cell_w + x * zoom, GAP + row as u32 * cell_h + y * zoom);
            for (dx, dy) in (0..zoom).flat_map(|dx| (0..zoom).map(move |dy| (dx, dy))) {
                canvas.put_pixel(left + dx, top + dy, Rgb([pixel[0], pixel[1], pixel[2]]));
            }
        }
    }
    let mut png = std::io::Cursor::new(Vec::new());
    canvas.write_to(&mut png, image::ImageFormat::Png)?;
    write_atomic(path, png.get_ref())
}
