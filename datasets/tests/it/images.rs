//! Decoding, resizing and encoding of valid and broken images.

use eqr_datasets::images::decode::{decode, decode_mask};
use eqr_datasets::images::encode::{encode_jpeg, encode_mask, encode_png};
use eqr_datasets::images::resize::{
    Filter, resize_mask_short_side, resize_mask_square, resize_short_side, resize_square,
};
use image::imageops;
use image::{GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

use crate::common::encoded;

/// A PNG of raw rows.
fn png(size: (u32, u32), kind: png::ColorType, depth: png::BitDepth, rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(kind);
    encoder.set_depth(depth);
    if kind == png::ColorType::Indexed {
        // reds that differ from their indices
        encoder
            .set_palette((0..1u32 << depth as u32).flat_map(|id| [255 - id as u8, 9, 9]).collect::<Vec<_>>());
    }
    encoder.write_header().unwrap().write_image_data(rows).unwrap();
    bytes
}

/// Writes bits into the pixel data of a JPEG.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.pending = (self.pending << 1) | ((value >> at) & 1);
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.pending as u8);
                // this distinguishes a marker from pixels
                if self.pending == 0xff {
                    self.bytes.push(0);
                }
                (self.pending, self.count) = (0, 0);
            }
        }
    }
}

/// A baseline JPEG of 8 * `blocks` x 8 pixels with one stored value for each component, and optionally
/// Adobe's marker of the colour transform. Written by ITU-T T.81, with a code of four bits for the size of a
/// DC difference and one bit for the end of a block.
fn flat_jpeg(components: &[u8], blocks: u16, adobe: Option<u8>) -> Vec<u8> {
    let count = components.len() as u8;
    let mut bytes = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        bytes.extend([0xff, marker]);
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend(body);
    };
    if let Some(transform) = adobe {
        segment(0xee, &[b"Adobe".as_slice(), &[0, 100, 0, 0, 0, 0, transform]].concat());
    }
    // a DC coefficient is eight times the mean of its block, here divided by eight
    segment(0xdb, &[[0].as_slice(), &[8; 64]].concat());
    let [width_high, width_low] = (blocks * 8).to_be_bytes();
    let frame = [8, 0, 8, width_high, width_low, count];
    let describe =
        |last: &dyn Fn(u8) -> Vec<u8>| (1..=count).flat_map(|id| [vec![id], last(id)].concat()).collect();
    let sampling: Vec<u8> = describe(&|_| vec![0x11, 0]);
    segment(0xc0, &[frame.as_slice(), &sampling].concat());
    let lengths = |at: usize, codes: u8| -> Vec<u8> {
        (1..=16).map(|bits| if bits == at { codes } else { 0 }).collect()
    };
    segment(0xc4, &[vec![0x00], lengths(4, 9), (0..9).collect()].concat());
    segment(0xc4, &[vec![0x10], lengths(1, 1), vec![0]].concat());
    let tables: Vec<u8> = describe(&|_| vec![0]);
    segment(0xda, &[vec![count], tables, vec![0, 63, 0]].concat());
    let mut bits = Bits::default();
    for block in 0..blocks {
        for &value in components {
            let difference = if block == 0 { i32::from(value) - 128 } else { 0 };
            let size = 32 - difference.unsigned_abs().leading_zeros();
            bits.put(size, 4);
            bits.put((if difference < 0 { difference + (1 << size) - 1 } else { difference }) as u32, size);
            bits.put(0, 1);
        }
    }
    bits.put(0x7f, 7);
    bytes.extend(bits.bytes);
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// A picture with edges, gradients and noise.
fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise = (x.wrapping_mul(7_919) ^ y.wrapping_mul(104_729)).wrapping_mul(2_654_435_761) >> 26;
        let edge = if (x / 9 + y / 13) % 2 == 0 { 40 } else { 190 };
        Rgb([(edge + noise) as u8, (x * 255 / width) as u8, (y * 255 / height) as u8])
    })
}

/// Largest and mean difference of two images of one size.
fn difference(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    assert_eq!(a.dimensions(), b.dimensions());
    let each = || a.as_raw().iter().zip(b.as_raw()).map(|(&a, &b)| a.abs_diff(b));
    (each().max().unwrap(), each().map(f64::from).sum::<f64>() / each().count() as f64)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, String>, expected: &str) {
    match result {
        Err(reason) => assert!(reason.contains(expected), "{reason}"),
        Ok(found) => panic!("expected a refusal with `{expected}`, found {found:?}"),
    }
}

#[test]
fn every_kind_of_png_becomes_rgb() {
    let first = |bytes: &[u8]| decode(bytes).unwrap()[(0, 0)].0;
    assert_eq!(first(&encoded(GrayImage::from_pixel(2, 2, Luma([77])), ImageFormat::Png)), [77; 3]);
    assert_eq!(first(&encoded(ImageBuffer::from_pixel(2, 2, LumaA([77u8, 0])), ImageFormat::Png)), [77; 3]);
    assert_eq!(
        first(&encoded(ImageBuffer::from_pixel(2, 2, Rgba([1u8, 2, 3, 0])), ImageFormat::Png)),
        [1, 2, 3]
    );
    let deep = ImageBuffer::from_pixel(2, 2, Rgb([257u16 * 200, 257 * 3 + 128, 257 * 3 + 129]));
    assert_eq!(first(&encoded(deep, ImageFormat::Png)), [200, 3, 4]);
    assert_eq!(first(&png((1, 1), png::ColorType::Indexed, png::BitDepth::Eight, &[3])), [252, 9, 9]);
    assert_eq!(first(&png((2, 1), png::ColorType::Indexed, png::BitDepth::Two, &[0b0111_0000])), [254, 9, 9]);
    assert_eq!(first(&png((2, 1), png::ColorType::Grayscale, png::BitDepth::One, &[0b1000_0000])), [255; 3]);
}

#[test]
fn jpegs_of_one_three_and_four_components_become_rgb() {
    // expected: ITU-T T.871 for YCbCr; PIL's colour * black / 255 of the stored (inverted) values for CMYK
    let cases: [(&[u8], Option<u8>, [i32; 3]); 9] = [
        (&[93], None, [93, 93, 93]),
        (&[120, 90, 200], None, [221, 82, 53]),
        (&[120, 90, 200], Some(1), [221, 82, 53]),
        (&[120, 90, 200], Some(0), [120, 90, 200]),
        (&[200, 100, 50, 255], Some(0), [200, 100, 50]),
        (&[200, 100, 50, 128], Some(0), [100, 50, 25]),
        (&[200, 100, 50, 0], Some(0), [0, 0, 0]),
        (&[200, 100, 50, 128], None, [100, 50, 25]),
        // the first three components of YCCK are the YCbCr of 255 - colour
        (&[120, 90, 200, 128], Some(2), [17, 87, 101]),
    ];
    for (components, adobe, expected) in cases {
        for blocks in [1, 5] {
            let image = decode(&flat_jpeg(components, blocks, adobe)).unwrap();
            assert_eq!(image.dimensions(), (u32::from(blocks) * 8, 8));
            for pixel in image.pixels() {
                let close = pixel
                    .0
                    .iter()
                    .zip(expected)
                    .all(|(&found, expected)| (i32::from(found) - expected).abs() <= 1);
                assert!(close, "{components:?}, Adobe {adobe:?}: expected {expected:?}, found {pixel:?}");
            }
        }
    }
}

#[test]
fn the_orientation_of_exif_is_not_applied() {
    let jpeg = encode_jpeg(&scene(40, 24), 90).unwrap();
    // "rotate by 90 degrees", in a TIFF with one entry
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1], (exif.len() as u16 + 2).to_be_bytes().as_slice(), exif].concat();
    let turned = [&jpeg[..2], &segment, &jpeg[2..]].concat();
    assert_eq!(decode(&turned).unwrap(), decode(&jpeg).unwrap());
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let mask = encode_mask(&GrayImage::from_fn(40, 30, |x, y| Luma([(x * y) as u8]))).unwrap();
    for whole in [encode_jpeg(&scene(40, 30), 80).unwrap(), encode_png(&scene(40, 30)).unwrap(), mask.clone()]
    {
        assert!(decode(&whole).is_ok());
        // only the checksum of the last, empty chunk of a PNG may be missing
        let needed = if whole.starts_with(b"\x89PNG") { whole.len() - 4 } else { whole.len() };
        for length in 0..needed {
            assert!(decode(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }
    for length in 0..mask.len() - 4 {
        assert!(decode_mask(&mask[..length]).is_err(), "{length} of {} bytes", mask.len());
    }
    refused(decode(b""), "empty");
    refused(decode(b"RIFF\x40\0\0\0WEBPVP8L"), "a truncated WebP");
    refused(decode(b"\x93NUMPY\x01\0"), "expected a JPEG, PNG, GIF, BMP, WebP or TIFF, found a NumPy array");
    refused(decode(b"\0\0\0\x14ftypavif\0\0\0\0mif1"), "found an AVIF image\nhint: convert it");
    refused(decode(b"version https://git-lfs.github.com/spec/v1\noid"), "found a Git LFS pointer");
}

#[test]
fn of_a_gif_the_first_frame_counts_whatever_its_name_or_end_says() {
    let frames =
        [[200, 30, 40, 255], [0, 0, 255, 255]].map(|colour| ImageBuffer::from_pixel(6, 4, Rgba(colour)));
    let mut bytes = Vec::new();
    image::codecs::gif::GifEncoder::new(&mut bytes).encode_frames(frames.map(image::Frame::new)).unwrap();
    let first = decode(&bytes).unwrap();
    assert!(
        first.dimensions() == (6, 4) && first.pixels().all(|pixel| pixel.0 == [200, 30, 40]),
        "{first:?}"
    );
    // everything up to the end of the first frame is needed
    let shortest = (0..bytes.len()).find(|&length| decode(&bytes[..length]).is_ok()).unwrap();
    assert!(shortest < bytes.len() - 1 && bytes[shortest - 1] == 0, "a frame ends with an empty block");
    for length in shortest..bytes.len() {
        assert_eq!(decode(&bytes[..length]).unwrap(), first, "{length} bytes");
    }
    refused(decode(b"GIF89a"), "");
    refused(decode_mask(&bytes), "PNG");
}

#[test]
fn a_truncated_gif_has_no_pixels_made_up() {
    let bytes = encoded(scene(40, 30), ImageFormat::Gif);
    let whole = decode(&bytes).unwrap();
    for length in 0..bytes.len() {
        match decode(&bytes[..length]) {
            Ok(image) => assert_eq!(image, whole, "{length} of {} bytes", bytes.len()),
            Err(_) => assert!(length < bytes.len() - 1),
        }
    }
}

#[test]
fn a_bmp_is_decoded_and_refused_where_it_is_truncated() {
    let image = scene(13, 7);
    let bytes = encoded(image.clone(), ImageFormat::Bmp);
    assert_eq!(decode(&bytes).unwrap(), image);
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    let grey = encoded(GrayImage::from_pixel(5, 5, Luma([77])), ImageFormat::Bmp);
    assert_eq!(decode(&grey).unwrap()[(4, 4)].0, [77; 3]);
}

#[test]
fn webp_and_tiff_are_decoded_and_refused_where_they_are_truncated() {
    let image = scene(13, 7);
    for format in [ImageFormat::WebP, ImageFormat::Tiff] {
        let bytes = encoded(image.clone(), format);
        assert_eq!(decode(&bytes).unwrap(), image, "{format:?}");
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes of {format:?}", bytes.len());
        }
        // a flat image may take next to no bytes
        let flat = encoded(RgbImage::from_pixel(1500, 1500, Rgb([9, 8, 7])), format);
        assert_eq!(decode(&flat).unwrap()[(1499, 1499)].0, [9, 8, 7], "{format:?}");
        let grey = encoded(GrayImage::from_pixel(5, 5, Luma([77])), format);
        assert_eq!(decode(&grey).unwrap()[(4, 4)].0, [77; 3], "{format:?}");
    }
    let deep = ImageBuffer::from_pixel(4, 4, Rgb([65_535u16, 257, 0]));
    assert_eq!(decode(&encoded(deep, ImageFormat::Tiff)).unwrap()[(0, 0)].0, [255, 1, 0]);
}

#[test]
fn sizes_that_gif_and_bmp_declare_buy_no_memory() {
    let gif = |screen: u16, frame: u16| {
        let mut bytes = encoded(RgbImage::new(2, 2), ImageFormat::Gif);
        let descriptor =
            bytes.windows(9).position(|window| window == [0x2c, 0, 0, 0, 0, 2, 0, 2, 0]).unwrap();
        for (at, side) in [(6, screen), (8, screen), (descriptor + 5, frame), (descriptor + 7, frame)] {
            bytes[at..at + 2].copy_from_slice(&side.to_le_bytes());
        }
        decode(&bytes)
    };
    assert!(gif(2, 2).is_ok());
    refused(gif(65_535, 2), "expected at most");
    refused(gif(7_000, 2), "cannot hold");
    refused(gif(0, 2), "0 x 0 pixels");
    refused(gif(2, 60_000), "");
    let bmp = |width: i32, height: i32| {
        let mut bytes = encoded(RgbImage::new(2, 2), ImageFormat::Bmp);
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        decode(&bytes)
    };
    assert!(bmp(2, 2).is_ok() && bmp(2, -2).is_ok());
    refused(bmp(40_000, 40_000), "expected at most");
    refused(bmp(7_000, -7_000), "cannot hold");
    for (width, height) in [(0, 2), (2, 0), (-2, 2), (i32::MIN, i32::MIN), (50, 50)] {
        refused(bmp(width, height), "");
    }
}

#[test]
fn a_header_alone_buys_no_memory() {
    let mut jpeg = flat_jpeg(&[93], 1, None);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut sized = |height: u16, width: u16| {
        jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        decode(&jpeg)
    };
    refused(sized(65_535, 65_535), "expected at most");
    refused(sized(1, 40_000), "expected at most");
    refused(sized(7_000, 7_000), "cannot hold");
    let grey = |side: u32| {
        let mut bytes = png((1, 1), png::ColorType::Grayscale, png::BitDepth::Eight, &[0]);
        bytes[16..20].copy_from_slice(&side.to_be_bytes());
        bytes[20..24].copy_from_slice(&side.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        bytes
    };
    assert!(decode(&grey(1)).is_ok() && decode_mask(&grey(1)).is_ok());
    for (side, expected) in [(40_000, "expected at most"), (7_000, "cannot hold"), (0, "")] {
        refused(decode(&grey(side)), expected);
        refused(decode_mask(&grey(side)), expected);
    }
}

/// The CRC of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn tiny_and_long_images_are_resized_within_bounds() {
    let dot = RgbImage::from_pixel(1, 1, Rgb([9, 8, 7]));
    let grown = resize_square(&dot, 5, Filter::Bilinear).unwrap();
    assert!(grown.dimensions() == (5, 5) && grown.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
    let strip = RgbImage::from_fn(20_000, 3, |x, _| Rgb([(x / 79) as u8, 0, 0]));
    let bytes = encode_png(&strip).unwrap();
    assert_eq!(decode(&bytes).unwrap(), strip);
    let middle = resize_square(&strip, 2, Filter::Bilinear).unwrap();
    assert!(middle.dimensions() == (2, 2) && middle[(0, 0)].0 == [126, 0, 0], "the centre: {middle:?}");
    refused(resize_short_side(&strip, 256, Filter::Bicubic), "cannot be resized");
    refused(resize_square(&strip, 0, Filter::Bilinear), "cannot be resized");
    refused(resize_square(&strip, 1_000_000, Filter::Bilinear), "cannot be resized");
    refused(resize_square(&RgbImage::new(0, 0), 4, Filter::Bilinear), "");
    refused(resize_short_side(&RgbImage::new(0, 7), 4, Filter::Bilinear), "");
    assert_eq!(resize_short_side(&scene(500, 375), 256, Filter::Bicubic).unwrap().dimensions(), (341, 256));
    assert_eq!(resize_short_side(&scene(375, 500), 256, Filter::Bicubic).unwrap().dimensions(), (256, 341));
}

/// Weights of the `from` source pixels for each of `to` pixels, by PIL's definition: the filter is widened by
/// the step, evaluated at the centres of the pixels in its support, and normalised to a sum of 1.
fn exact_weights(from: u32, to: u32, filter: Filter) -> Vec<Vec<(u32, f64)>> {
    let step = f64::from(from) / f64::from(to);
    let scale = step.max(1.0);
    let tent = |x: f64| (1.0 - x).max(0.0);
    let cubic = |x: f64| match x {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let weigh = |at: u32, pixel: u32| {
        let distance = (f64::from(pixel) + 0.5 - (f64::from(at) + 0.5) * step).abs() / scale;
        if filter == Filter::Bilinear { tent(distance) } else { cubic(distance) }
    };
    let weights =
        (0..to).map(|at| (0..from).map(|pixel| (pixel, weigh(at, pixel))).filter(|w| w.1 != 0.0).collect());
    let normalised = |weights: Vec<(u32, f64)>| {
        let sum: f64 = weights.iter().map(|weight| weight.1).sum();
        weights.into_iter().map(|(pixel, weight)| (pixel, weight / sum)).collect()
    };
    weights.map(normalised).collect()
}

/// Resizes `image` in floating point, rounded after each of the two directions as in PIL.
fn exact(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    let (columns, rows) =
        (exact_weights(image.width(), width, filter), exact_weights(image.height(), height, filter));
    let sum = |weights: &[(u32, f64)], pixel: &dyn Fn(u32) -> Rgb<u8>| {
        let channel =
            |c: usize| weights.iter().map(|&(at, weight)| weight * f64::from(pixel(at).0[c])).sum::<f64>();
        Rgb([0, 1, 2].map(|c| channel(c).round().clamp(0.0, 255.0) as u8))
    };
    let narrow =
        RgbImage::from_fn(width, image.height(), |x, y| sum(&columns[x as usize], &|at| image[(at, y)]));
    RgbImage::from_fn(width, height, |x, y| sum(&rows[y as usize], &|at| narrow[(x, at)]))
}

#[test]
fn resizing_agrees_with_the_exact_filters() {
    for (size, side) in [((500, 375), 224), ((375, 500), 64), ((97, 61), 32), ((40, 30), 71), ((64, 64), 64)]
    {
        let image = scene(size.0, size.1);
        let short = size.0.min(size.1);
        let cut =
            imageops::crop_imm(&image, (size.0 - short) / 2, (size.1 - short) / 2, short, short).to_image();
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            let square = resize_square(&image, side, filter).unwrap();
            let whole = resize_short_side(&image, side, filter).unwrap();
            let expected = exact(&image, whole.width(), whole.height(), filter);
            for (found, expected) in [(square, exact(&cut, side, side, filter)), (whole, expected)] {
                let (largest, mean) = difference(&found, &expected);
                assert!(
                    largest <= 1 && mean < 0.1,
                    "{size:?} to {side}, {filter:?}: {largest}/255, {mean} on average"
                );
            }
        }
    }
}

#[test]
fn masks_are_ids_and_not_colours() {
    use png::{BitDepth, ColorType};
    let ids = |bytes: &[u8]| decode_mask(bytes).unwrap().into_raw();
    assert_eq!(
        ids(&png((3, 2), ColorType::Grayscale, BitDepth::Eight, &[0, 1, 150, 7, 255, 2])),
        [0, 1, 150, 7, 255, 2]
    );
    assert_eq!(ids(&png((3, 1), ColorType::Indexed, BitDepth::Eight, &[0, 31, 255])), [0, 31, 255]);
    assert_eq!(
        ids(&png((3, 2), ColorType::Indexed, BitDepth::Four, &[0x1f, 0x20, 0x34, 0x50])),
        [1, 15, 2, 3, 4, 5]
    );
    assert_eq!(
        ids(&png((5, 1), ColorType::Indexed, BitDepth::Two, &[0b0001_1011, 0b1000_0000])),
        [0, 1, 2, 3, 2]
    );
    assert_eq!(
        ids(&png((9, 1), ColorType::Indexed, BitDepth::One, &[0b1010_0001, 0x80])),
        [1, 0, 1, 0, 0, 0, 0, 1, 1]
    );
    refused(decode_mask(&png((1, 1), ColorType::Grayscale, BitDepth::Sixteen, &[0, 1])), "16 bits");
    refused(decode_mask(&png((1, 1), ColorType::Grayscale, BitDepth::Four, &[0])), "4 bits");
    refused(decode_mask(&png((1, 1), ColorType::Rgb, BitDepth::Eight, &[0, 1, 2])), "Rgb");
    refused(decode_mask(&png((1, 1), ColorType::GrayscaleAlpha, BitDepth::Eight, &[0, 1])), "GrayscaleAlpha");
    refused(decode_mask(&encode_jpeg(&scene(8, 8), 90).unwrap()), "PNG");
}

#[test]
fn a_resized_mask_has_no_new_ids_and_lies_where_its_image_does() {
    let mask = GrayImage::from_fn(90, 60, |x, y| Luma([if x < 45 { 7 } else { 150 } + (y / 30) as u8]));
    let half = resize_mask_short_side(&mask, 30).unwrap();
    assert_eq!(half, GrayImage::from_fn(45, 30, |x, y| mask[(2 * x + 1, 2 * y + 1)]));
    let square = resize_mask_square(&mask, 20).unwrap();
    assert_eq!(square, GrayImage::from_fn(20, 20, |x, y| mask[(15 + 3 * x + 1, 3 * y + 1)]));
    assert_eq!(resize_mask_square(&mask, 60).unwrap()[(0, 0)], mask[(15, 0)]);
}

#[test]
fn what_is_encoded_is_decoded_again() {
    let image = scene(64, 48);
    assert_eq!(decode(&encode_png(&image).unwrap()).unwrap(), image);
    let smooth = imageops::blur(&image, 3.0);
    let jpeg = decode(&encode_jpeg(&smooth, 95).unwrap()).unwrap();
    let (largest, mean) = difference(&jpeg, &smooth);
    assert!(largest < 20 && mean < 2.0, "{largest}/255 at most, {mean} on average");
    let mask = GrayImage::from_fn(33, 20, |x, y| Luma([(x * 7 + y) as u8]));
    assert_eq!(decode_mask(&encode_mask(&mask).unwrap()).unwrap(), mask);
    assert_eq!(encode_png(&image).unwrap(), encode_png(&image).unwrap());
    refused(encode_jpeg(&image, 0), "1 to 100");
    refused(encode_jpeg(&image, 101), "1 to 100");
    refused(encode_jpeg(&RgbImage::new(0, 0), 90), "");
}
