//! A white page with rows of pictures: a heading at the top, a name beside each row, captions below the
//! pictures and a legend at the end.

use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageError, Rgb, RgbImage, imageops};

use super::pen::Pen;
use crate::error::{Error, Result};
use crate::images::resize::{Filter, resize_whole};
use crate::output::write_file;

/// Margin around the page, in pixels like all lengths below.
const MARGIN: u32 = 16;
/// Space between unrelated pictures.
const GAP: u32 = 6;
/// Space between blocks of several pictures.
const WIDE_GAP: u32 = 18;
/// Space between the pictures of a block.
const SEAM: u32 = 2;
/// Space between a text and the picture or swatch that it describes.
const TEXT_GAP: u32 = 8;
/// Maximum width of a row's name.
const WIDEST_NAME: u32 = 150;
/// Minimum width of a page with a long heading.
const NARROWEST: u32 = 360;
/// Side of the colour squares in the legend.
const SWATCH: u32 = 14;

const INK: [u8; 3] = [32, 32, 32];
const GREY: [u8; 3] = [105, 105, 105];

/// A picture that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Number of images or pairs in it.
    pub shown: usize,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// The content of a page.
pub(super) struct Sheet {
    pub title: String,
    /// A line below the title.
    pub subtitle: String,
    pub rows: Vec<Row>,
    /// Colours and their names.
    pub legend: Vec<([u8; 3], String)>,
}

/// A row of blocks.
pub(super) struct Row {
    /// Text to the left.
    pub name: Option<String>,
    pub blocks: Vec<Block>,
}

/// Pictures that belong together.
pub(super) struct Block {
    /// Every block must have the same number of pictures.
    pub pictures: Vec<RgbImage>,
    pub caption: Option<Caption>,
}

/// The text below a block.
pub(super) struct Caption {
    pub name: Option<String>,
    pub phrases: Vec<String>,
}

/// Width and height of an image fitted into a square of `cell` pixels. Small images are enlarged by a whole
/// factor, so that their pixels stay visible.
pub(super) fn fitted_size(width: u32, height: u32, cell: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    match cell / longest {
        0 => {
            let scaled = |side: u32| (u64::from(side) * u64::from(cell) / u64::from(longest)).max(1) as u32;
            (scaled(width), scaled(height))
        }
        zoom => (width * zoom, height * zoom),
    }
}

/// Scales `image` to its [`fitted_size`], with antialiasing if it is reduced.
pub(super) fn fitted(image: &RgbImage, cell: u32) -> std::result::Result<RgbImage, String> {
    let (width, height) = fitted_size(image.width(), image.height(), cell);
    if width < image.width() || height < image.height() {
        return resize_whole(image, [width, height], Filter::Bilinear);
    }
    let zoom = width / image.width().max(1);
    Ok(RgbImage::from_fn(width, height, |x, y| *image.get_pixel(x / zoom, y / zoom)))
}

/// `number` with commas as thousands separators.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let comma = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().map(|(at, digit)| format!("{}{digit}", comma(at))).collect()
}

impl Sheet {
    /// Writes the page atomically to `path` as a PNG.
    pub fn write_png(&self, path: &Path) -> Result<Picture> {
        let canvas = self.draw();
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
            .write_image(canvas.as_raw(), canvas.width(), canvas.height(), ExtendedColorType::Rgb8)
            .map_err(|error| match error {
                ImageError::IoError(source) => Error::io(path)(source),
                other => Error::format(path, other.to_string()),
            })?;
        write_file(path, &png)?;
        let shown = self.rows.iter().map(|row| row.blocks.len()).sum();
        Ok(Picture { shown, width: canvas.width(), height: canvas.height() })
    }

    fn draw(&self) -> RgbImage {
        let layout = Layout::new(self);
        let mut canvas = RgbImage::from_pixel(layout.width, layout.height, Rgb([255; 3]));
        let room = layout.width - 2 * MARGIN;
        let Pens { title, subtitle, name, .. } = &layout.pens;
        title.write(&mut canvas, &title.elided(&self.title, room), [MARGIN, MARGIN]);
        subtitle.write(
            &mut canvas,
            &subtitle.elided(&self.subtitle, room),
            [MARGIN, MARGIN + title.height()],
        );
        for (row, &top) in self.rows.iter().zip(&layout.tops) {
            if let Some(text) = &row.name {
                let text = name.elided(text, WIDEST_NAME);
                let left = layout.left - TEXT_GAP - name.width(&text);
                let middle = top + layout.cell.1.saturating_sub(name.height()) / 2;
                name.write(&mut canvas, &text, [left, middle]);
            }
            let pitch = layout.block + layout.gap;
            for (block, left) in row.blocks.iter().zip((0u32..).map(|column| layout.left + column * pitch)) {
                block.draw(&layout, &mut canvas, [left, top]);
            }
        }
        for ((colour, text), &[left, top]) in self.legend.iter().zip(&layout.legend) {
            let swatch = RgbImage::from_pixel(SWATCH, SWATCH, Rgb(*colour));
            let down = name.height().saturating_sub(SWATCH) / 2;
            imageops::replace(&mut canvas, &swatch, left.into(), (top + down).into());
            name.write(&mut canvas, &name.elided(text, WIDEST_NAME), [left + SWATCH + TEXT_GAP, top]);
        }
        canvas
    }
}

impl Block {
    fn draw(&self, layout: &Layout, canvas: &mut RgbImage, [left, top]: [u32; 2]) {
        let (width, height) = layout.cell;
        for (picture, left) in self.pictures.iter().zip((0u32..).map(|at| left + at * (width + SEAM))) {
            let (x, y) = (left + (width - picture.width()) / 2, top + (height - picture.height()) / 2);
            imageops::replace(canvas, picture, x.into(), y.into());
        }
        let Some(caption) = &self.caption else { return };
        let Pens { name, note, .. } = &layout.pens;
        let mut top = top + height + TEXT_GAP / 2;
        if let Some(text) = &caption.name {
            name.write(canvas, &name.elided(text, layout.block), [left, top]);
            top += name.height();
        }
        for line in note.lines(&caption.phrases, layout.block) {
            note.write(canvas, &line, [left, top]);
            top += note.height();
        }
    }
}

/// The text styles of a page.
struct Pens {
    title: Pen,
    subtitle: Pen,
    name: Pen,
    note: Pen,
}

/// The positions on a page.
struct Layout {
    width: u32,
    height: u32,
    /// Width and height of the largest picture.
    cell: (u32, u32),
    /// Width of a block.
    block: u32,
    /// Space between blocks.
    gap: u32,
    /// Left edge of the first block.
    left: u32,
    /// Top edge of each row.
    tops: Vec<u32>,
    /// Top left corner of each entry of the legend.
    legend: Vec<[u32; 2]>,
    pens: Pens,
}

impl Layout {
    fn new(sheet: &Sheet) -> Layout {
        let pens = Pens {
            title: Pen::new(22.0, INK),
            subtitle: Pen::new(14.0, GREY),
            name: Pen::new(15.0, INK),
            note: Pen::new(13.0, GREY),
        };
        let blocks = || sheet.rows.iter().flat_map(|row| &row.blocks);
        let largest = |side: fn(&RgbImage) -> u32| {
            blocks().flat_map(|block| &block.pictures).map(side).max().unwrap_or_default()
        };
        let cell = (largest(RgbImage::width), largest(RgbImage::height));
        let pictures = blocks().map(|block| block.pictures.len()).max().unwrap_or_default() as u32;
        let block = pictures * (cell.0 + SEAM) - SEAM.min(pictures * SEAM);
        let names = sheet.rows.iter().filter_map(|row| row.name.as_ref());
        let widest = names.map(|text| pens.name.width(&pens.name.elided(text, WIDEST_NAME)) + TEXT_GAP).max();
        let left = MARGIN + widest.unwrap_or_default();
        let columns = sheet.rows.iter().map(|row| row.blocks.len()).max().unwrap_or_default() as u32;
        let gap = if pictures > 1 { WIDE_GAP } else { GAP };
        let grid = left + columns * (block + gap) - gap.min(columns * gap);
        let heading = pens.title.width(&sheet.title).max(pens.subtitle.width(&sheet.subtitle));
        let width = (MARGIN + heading).min(NARROWEST).max(grid) + MARGIN;
        let mut top = MARGIN + pens.title.height() + pens.subtitle.height() + TEXT_GAP;
        let mut tops = Vec::with_capacity(sheet.rows.len());
        for row in &sheet.rows {
            tops.push(top);
            let caption = row.blocks.iter().map(|each| pens.caption_height(&each.caption, block)).max();
            top += cell.1 + caption.unwrap_or_default() + GAP;
        }
        let (legend, bottom) = pens.legend(&sheet.legend, width, top + TEXT_GAP);
        let height = if legend.is_empty() { top - GAP.min(top) } else { bottom } + MARGIN;
        Layout { width, height, cell, block, gap, left, tops, legend, pens }
    }
}

impl Pens {
    /// Height of a caption below a block of `width` pixels.
    fn caption_height(&self, caption: &Option<Caption>, width: u32) -> u32 {
        caption.as_ref().map_or(0, |caption| {
            let name = if caption.name.is_some() { self.name.height() } else { 0 };
            let lines = self.note.lines(&caption.phrases, width).len() as u32;
            TEXT_GAP / 2 + name + lines * self.note.height() + TEXT_GAP
        })
    }

    /// Positions of the legend's entries, in lines below `top`, and the bottom of the last line.
    fn legend(&self, entries: &[([u8; 3], String)], width: u32, mut top: u32) -> (Vec<[u32; 2]>, u32) {
        let (mut left, mut places) = (MARGIN, Vec::with_capacity(entries.len()));
        for (_, text) in entries {
            let taken = SWATCH + TEXT_GAP + self.name.width(&self.name.elided(text, WIDEST_NAME));
            if left > MARGIN && left + taken > width - MARGIN {
                (left, top) = (MARGIN, top + self.name.height() + GAP);
            }
            places.push([left, top]);
            left += taken + 2 * TEXT_GAP;
        }
        (places, top + self.name.height())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_fitted_into_cells() {
        for ((width, height), expected) in [
            ((32, 32), (128, 128)),
            ((64, 64), (128, 128)),
            ((96, 50), (96, 50)),
            ((300, 200), (128, 85)),
            ((20_000, 1), (128, 1)),
            ((1, 1), (128, 128)),
        ] {
            assert_eq!(fitted_size(width, height, 128), expected);
            let image = RgbImage::from_pixel(width, height, Rgb([9, 8, 7]));
            let drawn = fitted(&image, 128).unwrap();
            assert!(drawn.dimensions() == expected && drawn.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_281_167].map(grouped), ["0", "999", "1,000", "1,281,167"]);
    }

    #[test]
    fn a_legend_is_wrapped_within_the_page() {
        let picture = RgbImage::new(100, 50);
        let row = Row { name: None, blocks: vec![Block { pictures: vec![picture], caption: None }] };
        let legend: Vec<_> = (0..40).map(|id| ([id, 0, 0], format!("class {id}"))).collect();
        let sheet = Sheet { title: "t".into(), subtitle: "a".into(), rows: vec![row], legend };
        let (layout, canvas) = (Layout::new(&sheet), sheet.draw());
        assert_eq!(canvas.dimensions(), (layout.width, layout.height));
        for (id, &[left, top]) in layout.legend.iter().enumerate() {
            assert_eq!(canvas.get_pixel(left + 7, top + 9).0, [id as u8, 0, 0]);
            assert!(left + 60 < layout.width && top + 15 < layout.height);
        }
    }
}
