//! Pictures in formats that keep the page small: photographs as JPEG, drawings with a palette.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};

/// Bytes that the photographs of a group take together, if a smaller size achieves it.
const BUDGET: usize = 450_000;

/// Quality of the photographs.
const QUALITY: u8 = 70;

/// Sizes of the photographs in twelfths, from the one that is tried first. The page shows them at about 7.
const TWELFTHS: [u32; 5] = [12, 8, 6, 5, 4];

/// Largest number of colours of a drawing.
const COLOURS: usize = 256;

/// Distance of two colours of a palette at least, as the sum of squares over red, green and blue. Those of
/// lines and letters are exact; a shade at their edges may be another one's.
const APART: i32 = 300;

/// The photographs as sources of images, in the largest size in which all of them fit the budget, or else in
/// the smallest. A file that is no picture is kept as it is.
pub fn photographs(files: &[&[u8]]) -> Vec<String> {
    let pictures: Vec<Option<RgbImage>> = files.iter().map(|png| opened(png)).collect();
    let at = |twelfths: u32| pictures.iter().map(|picture| as_jpeg(picture.as_ref()?, twelfths)).collect();
    let fits = |all: &Vec<Option<Vec<u8>>>| all.iter().flatten().map(Vec::len).sum::<usize>() <= BUDGET;
    let encoded = TWELFTHS[..TWELFTHS.len() - 1].iter().map(|&twelfths| at(twelfths)).find(fits);
    let encoded = encoded.unwrap_or_else(|| at(TWELFTHS[TWELFTHS.len() - 1]));
    let source = |(jpeg, png): (Option<Vec<u8>>, &&[u8])| {
        jpeg.map_or_else(|| source("png", png), |jpeg| source("jpeg", &jpeg))
    };
    encoded.into_iter().zip(files).map(source).collect()
}

/// A drawing as the source of an image. A file that is no picture is kept as it is.
pub fn drawing(png: &[u8]) -> String {
    source("png", &opened(png).and_then(|picture| with_palette(&picture)).unwrap_or_else(|| png.to_vec()))
}

fn source(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
}

fn opened(png: &[u8]) -> Option<RgbImage> {
    Some(image::load_from_memory(png).ok()?.to_rgb8())
}

fn as_jpeg(picture: &RgbImage, twelfths: u32) -> Option<Vec<u8>> {
    let side = |pixels: u32| (pixels * twelfths / 12).max(1);
    let (width, height) = (side(picture.width()), side(picture.height()));
    let smaller = resize(picture, width, height, FilterType::CatmullRom);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&smaller).ok()?;
    Some(jpeg)
}

/// A PNG with a palette, in which every other pixel has the nearest of its colours.
fn with_palette(picture: &RgbImage) -> Option<Vec<u8>> {
    let palette = palette(picture);
    let mut places: HashMap<Rgb<u8>, u8> = HashMap::new();
    let indices =
        picture.pixels().map(|pixel| *places.entry(*pixel).or_insert_with(|| nearest(&palette, *pixel)));
    let indices: Vec<u8> = indices.collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.iter().flat_map(|colour| colour.0).collect::<Vec<u8>>());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header().ok()?.write_image_data(&indices).ok()?;
    Some(bytes)
}

/// The most frequent colours that are apart from one another; of equally frequent ones, the darker first.
fn palette(picture: &RgbImage) -> Vec<Rgb<u8>> {
    let mut counts: HashMap<Rgb<u8>, usize> = HashMap::new();
    picture.pixels().for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
    let mut colours: Vec<(Rgb<u8>, usize)> = counts.into_iter().collect();
    colours.sort_unstable_by_key(|(colour, count)| (std::cmp::Reverse(*count), colour.0));
    let mut palette: Vec<Rgb<u8>> = Vec::new();
    for (colour, _) in colours {
        if palette.len() < COLOURS && palette.iter().all(|own| distance(*own, colour) >= APART) {
            palette.push(colour);
        }
    }
    palette
}

fn distance(one: Rgb<u8>, other: Rgb<u8>) -> i32 {
    one.0.iter().zip(other.0).map(|(one, other)| (i32::from(*one) - i32::from(other)).pow(2)).sum()
}

/// Place of the palette's nearest colour.
fn nearest(palette: &[Rgb<u8>], colour: Rgb<u8>) -> u8 {
    let place = (0..palette.len()).min_by_key(|&place| distance(palette[place], colour)).unwrap_or(0);
    u8::try_from(place).expect("a palette has at most 256 colours")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn png(picture: &RgbImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn read(source: &str) -> RgbImage {
        let (_, encoded) = source.split_once(";base64,").unwrap();
        opened(&STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn frequent_colours_of_a_drawing_are_exact() {
        // white, a blue line, a rare green one, and a different shade in every pixel of one row
        let drawing_of = RgbImage::from_fn(300, 90, |x, y| match y {
            40..44 => Rgb([20, 60, 200]),
            50 if x < 9 => Rgb([0, 158, 115]),
            44 => Rgb([200, (x % 256) as u8, (x / 2) as u8]),
            _ => Rgb([255; 3]),
        });
        let found = read(&drawing(&png(&drawing_of)));
        let exact = |y: u32| (0..300).all(|x| found.get_pixel(x, y) == drawing_of.get_pixel(x, y));
        assert!(exact(0) && exact(41) && exact(43) && exact(50) && !exact(44));
        assert_eq!(found.dimensions(), (300, 90));
    }

    #[test]
    fn many_photographs_are_smaller_than_one() {
        let noise = RgbImage::from_fn(700, 700, |x, y| {
            let value = (x * 7919 + y * 104_729) ^ (x * y * 31);
            Rgb([value as u8, (value >> 8) as u8, (value >> 4) as u8])
        });
        let file = png(&noise);
        let widths = |count: usize| -> Vec<u32> {
            photographs(&vec![&file[..]; count]).iter().map(|source| read(source).width()).collect()
        };
        let (one, six) = (widths(1), widths(6));
        assert!(one[0] > six[0] && six.iter().all(|width| *width == six[0]), "{one:?} {six:?}");
        assert!(photographs(&[b"no picture"])[0].starts_with("data:image/png;base64,"));
    }
}
