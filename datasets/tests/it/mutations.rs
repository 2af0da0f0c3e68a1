//! Every parser of foreign bytes, on valid inputs with a few bytes changed, removed or duplicated. Errors are
//! allowed, panics and endless loops are not. The changes depend on a seed. With `EQR_TEST_FULL=1` there are
//! fifty times as many.

use std::io::{Cursor, Read, Write};
use std::path::Path;

use eqr_datasets::archives::{IMAGE_BYTES, Selection, Tree, Visit};
use eqr_datasets::file_kind::{FileKind, HEAD};
use eqr_datasets::images::decode::{decode, decode_mask};
use eqr_datasets::images::encode::{encode_jpeg, encode_mask, encode_png};
use eqr_datasets::scene::obj;
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::common::gz_bytes;
use crate::placed::every_image_has_one_place;

/// Number of changed inputs for each valid one.
fn rounds() -> u64 {
    if std::env::var_os("EQR_TEST_FULL").is_some() { 20_000 } else { 400 }
}

/// `bytes` with one to four changes.
fn mutated(bytes: &[u8], rng: &mut Pcg64Mcg) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.gen_range(1..=4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.gen_range(0..bytes.len());
        let end = (at + rng.gen_range(1..=16)).min(bytes.len());
        match rng.gen_range(0..6) {
            0 => bytes[at] ^= 1 << rng.gen_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b'/'][rng.gen_range(0..8)],
            2 => bytes[at..end].iter_mut().for_each(|byte| *byte = rng.r#gen()),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            _ => {
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
        }
    }
    bytes
}

/// Runs `parse` on changed copies of each of `valid`, which themselves must be accepted.
fn survive(name: &str, valid: &[Vec<u8>], parse: impl Fn(&[u8]) -> bool) {
    for (index, input) in valid.iter().enumerate() {
        assert!(parse(input), "{name} {index} is not taken as it is");
        for round in 0..rounds() {
            let mut rng = Pcg64Mcg::seed_from_u64(index as u64 * 1_000_003 + round);
            let changed = mutated(input, &mut rng);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| parse(&changed)));
            assert!(outcome.is_ok(), "{name} {index}, round {round} panics on {} bytes", changed.len());
        }
    }
}

fn picture() -> RgbImage {
    RgbImage::from_fn(23, 17, |x, y| Rgb([(x * 11) as u8, (y * 15) as u8, (x * y) as u8]))
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    // a long name has its own header
    for path in [name.to_owned(), format!("{}/{name}", "x".repeat(120))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).unwrap();
    }
    builder.append_pax_extensions([("comment", b"c".as_slice())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    builder.append_data(&mut header, "last.txt", b"x".as_slice()).unwrap();
    builder.into_inner().unwrap()
}

fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (at, method) in
        [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated].into_iter().enumerate()
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(format!("{at}/{name}"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Reads every other member of the archive, and all of them as a list.
fn read_tree(path: &Path) -> eqr_datasets::Result<()> {
    let mut tree = Tree::open(path)?;
    let mut count = 0;
    tree.visit(&mut |path, size, reader: &mut dyn Read| {
        count += 1;
        if count % 2 == 0 {
            tree.read_member(path, size, reader, IMAGE_BYTES)?;
        }
        Ok(Visit::Continue)
    })?;
    tree.list(Selection { is_list: |path| path.len() % 2 == 0, is_sniffed: |_| true }).map(|_| ())
}

#[test]
fn trees() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let plain = tar("a.txt", b"some text");
    let valid = [
        plain.clone(),
        gz_bytes(&plain),
        zip("a.txt", b"some text"),
        tar("b.tar", &plain),
        tar("b.tgz", &gz_bytes(&plain)),
        tar("b.zip", &zip("a.txt", b"some text")),
        zip("b.tar", &plain),
    ];
    survive("tree", &valid, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read_tree(&path).is_ok()
    });
}

#[test]
fn images() {
    let deep = image::ImageBuffer::from_fn(9, 9, |x, y| Rgb([x as u16 * 7_000, y as u16 * 7_000, 0]));
    let encoded = |image: image::DynamicImage, format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let valid = [
        encode_jpeg(&picture(), 80).unwrap(),
        encode_png(&picture()).unwrap(),
        encoded(deep.into(), image::ImageFormat::Png),
        encoded(picture().into(), image::ImageFormat::Gif),
        encoded(picture().into(), image::ImageFormat::Bmp),
    ];
    survive("image", &valid, |bytes| decode(bytes).is_ok());
}

#[test]
fn masks() {
    let grey = GrayImage::from_fn(23, 17, |x, y| Luma([(x + y) as u8]));
    let mut palette = Vec::new();
    let mut encoder = png::Encoder::new(&mut palette, 5, 3);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![7; 12]);
    encoder.write_header().unwrap().write_image_data(&[0x1b; 6]).unwrap();
    survive("mask", &[encode_mask(&grey).unwrap(), palette], |bytes| decode_mask(bytes).is_ok());
}

#[test]
fn meshes() {
    let cube = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1 # top\n\
        f 1/1 4/2 3/3 2/4\nf 5 6 7 8\nf 1//1 2//1 6//1 5//1\nf -6 -5 -1 \\\n-2\nf 3 4 8 7\nf 4 1 5 8\n";
    survive("mesh", &[cube.as_bytes().to_vec()], |bytes| obj::parse(bytes).is_ok());
}

#[test]
fn file_kinds() {
    let safetensors = b"\x12\0\0\0\0\0\0\0{\"a\":{}}       data".to_vec();
    let valid = [
        tar("a.png", b"x"),
        zip("a.png", b"x"),
        encode_png(&picture()).unwrap(),
        encode_jpeg(&picture(), 80).unwrap(),
        b"\0\0\0\x1cftypmif1\0\0\0\0avifmiaf\0\0\0\x08".to_vec(),
        b"II*\0\x08\0\0\0\x0c\0\xfe\0\x04\0\x01\0\0\0\x01\0\0\0".to_vec(),
        b"<?xml version='1.0'?><!-- a --><svg xmlns='b'>".to_vec(),
        safetensors,
    ];
    survive("file kind", &valid, |bytes| {
        let kind = FileKind::of(bytes);
        assert_eq!(kind, FileKind::of(&bytes[..bytes.len().min(HEAD)]), "only the head counts");
        assert!(!kind.to_string().is_empty() && !kind.counted(2).is_empty());
        assert!(kind.instead_of("a pack", "hint: pack it").contains("\nhint: "));
        kind != FileKind::Unknown
    });
}

#[test]
fn class_folders() {
    let valid = [
        "train/a/1.jpg\ntrain/b/2.png\nval/a/3.webp\ntest/b/4.jpeg\ntrain/a/5\tj\nREADME.txt\ntrain/b/6.avif\ta\n",
        "a/1.jpg\na/2.jpg\nb/1\tj\nb/2.tiff\nb/3\tp\n",
        "set/Training/caf\u{e9}/1.jpg\nset/Training/b/1.jpg\nset/Valid/cafe\u{301}/1.jpg\nset/extra/1.jpg\n",
        "x.tar/a/1.jpg\nx.tar/a/5.png\nx.tar/b/2.png\nx.tar/b/3.gif\n",
    ]
    .map(|text| text.as_bytes().to_vec());
    survive("class folders", &valid, |bytes| every_image_has_one_place(&String::from_utf8_lossy(bytes)));
}
