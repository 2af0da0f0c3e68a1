//! Packs written by HDF5 with a valid seal, in which a fuzzer can change every value, shape and type. So the
//! code after the checksum is reached, and HDF5's own structures stay valid.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hdf5::types::{FixedAscii, VarLenUnicode};
use hdf5::{Group, H5Type, Location};

use crate::choices::Choices;

/// Bytes of the seal.
const SEAL: usize = 512;

/// Writes the pack that `choices` decide. The file stays until the next call. `None` if HDF5 refuses to write
/// it.
pub fn write_pack(choices: &mut Choices) -> Option<&'static Path> {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let path = FILE.get_or_init(|| tempfile::tempdir().expect("a temporary folder").keep().join("pack.h5"));
    hdf5::silence_errors(true);
    let payloads = write(path, choices).ok()?;
    seal(path, payloads, choices).expect("a file in a temporary folder");
    Some(path)
}

/// Writes the HDF5 file without the seal. Returns the positions of image and mask bytes.
fn write(path: &Path, choices: &mut Choices) -> hdf5::Result<Vec<Range<u64>>> {
    let file = hdf5::File::with_options().with_fcpl(|p| p.userblock(SEAL as u64)).create(path)?;
    let renders = choices.below(2) == 1;
    text(&file, "format", "eqr-pack", choices)?;
    text(&file, "name", "set", choices)?;
    text(&file, "kind", if renders { "renders" } else { "photographs" }, choices)?;
    text(&file, "provenance", "{}", choices)?;
    text(&file, "content", "0", choices)?;
    attribute(&file, "format_version", vec![3u32], choices)?;
    attribute(&file, "mean", vec![0.5f32; 3], choices)?;
    attribute(&file, "std", vec![0.25f32; 3], choices)?;
    let names: Vec<VarLenUnicode> = ["a", "b"].iter().filter_map(|name| name.parse().ok()).collect();
    array(&file, "class_names", &[2], names, choices)?;
    let mut payloads = Vec::new();
    for name in ["train", "test", "val"] {
        // the first two exist by default, the third does not
        if (choices.fault(1) == 1) == (name == "val") {
            split(&file.create_group(name)?, renders, choices, &mut payloads)?;
        }
    }
    file.close()?;
    Ok(payloads)
}

/// A split of two images.
fn split(
    group: &Group,
    renders: bool,
    choices: &mut Choices,
    payloads: &mut Vec<Range<u64>>,
) -> hdf5::Result<()> {
    array(group, "labels", &[2], vec![0i32, 1], choices)?;
    array(group, "names", &[4], b"a\nb\n".to_vec(), choices)?;
    if renders {
        let latents = array(group, "latents", &[2, 7], vec![0.5f32; 14], choices)?;
        if let Some(latents) = latents {
            attribute(&latents, "views", vec![2u64], choices)?;
        }
    }
    let (encoded, masked) = (choices.below(2) == 1, choices.below(2) == 1);
    for (prefix, channels) in [("image", 3), ("mask", 1)] {
        if prefix == "mask" && !masked {
            continue;
        }
        let sums = if prefix == "image" { "checksums" } else { "mask_checksums" };
        array(group, sums, &[2, 32], vec![0u8; 64], choices)?;
        let bytes = if encoded {
            let mut files: [Vec<u8>; 2] = std::array::from_fn(|_| picture(channels));
            if choices.fault(1) == 1 {
                files[1] = choices.bytes();
            }
            let [first, second] = files.each_ref().map(|file| file.len() as u64);
            array(group, &format!("{prefix}_places"), &[2, 2], vec![0, first, first, second], choices)?;
            array(group, &format!("{prefix}_sizes"), &[2, 2], vec![2u32, 3, 2, 3], choices)?;
            let bytes = files.concat();
            array(group, &format!("{prefix}_bytes"), &[bytes.len()], bytes, choices)?
        } else {
            let shape: &[usize] = if channels == 3 { &[2, 2, 2, 3] } else { &[2, 2, 2] };
            array(group, &format!("{prefix}s"), shape, vec![1u8; 8 * channels], choices)?
        };
        payloads
            .extend(bytes.and_then(|bytes| bytes.offset().map(|start| start..start + bytes.storage_size())));
    }
    Ok(())
}

/// A PNG of 2 rows and 3 columns.
fn picture(channels: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 3, 2);
    encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&vec![1; 6 * channels]))
        .expect("a picture");
    file
}

/// A text attribute of the root.
fn text(at: &Location, name: &str, value: &str, choices: &mut Choices) -> hdf5::Result<()> {
    let chosen = match choices.fault(2) {
        1 => String::from_utf8_lossy(&choices.bytes()).replace('\0', ""),
        _ => value.to_owned(),
    };
    attribute(at, name, vec![chosen.parse::<VarLenUnicode>().map_err(|_| "a zero byte")?], choices)
}

/// Writes an attribute with these values: one value as a scalar, several as an array.
fn attribute<T: H5Type + Clone>(
    at: &Location,
    name: &str,
    values: Vec<T>,
    choices: &mut Choices,
) -> hdf5::Result<()> {
    let values = changed(values, choices);
    let numbers: Vec<i16> = wrong_type(choices, 1);
    match choices.fault(5) {
        1 => return Ok(()),
        2 => at.new_attr_builder().with_data(&numbers).create(name)?,
        3 => {
            let ascii = FixedAscii::<8>::from_ascii(b"renders").map_err(|_| "not ASCII")?;
            at.new_attr::<FixedAscii<8>>().create(name)?.write_scalar(&ascii)?;
            return Ok(());
        }
        4 => at.new_attr::<T>().shape(0).create(name)?,
        5 => at.new_attr::<T>().shape((1, values.len().max(1))).create(name)?,
        _ => match &values[..] {
            [value] => {
                let attribute = at.new_attr::<T>().create(name)?;
                attribute.write_scalar(value)?;
                attribute
            }
            _ => at.new_attr_builder().with_data(&values).create(name)?,
        },
    };
    Ok(())
}

/// Writes a dataset with these values, or with another type, shape or layout, or none at all.
fn array<T: H5Type + Clone>(
    group: &Group,
    name: &str,
    shape: &[usize],
    values: Vec<T>,
    choices: &mut Choices,
) -> hdf5::Result<Option<hdf5::Dataset>> {
    let mut values = changed(values, choices);
    let mut shape = shape.to_vec();
    match choices.fault(6) {
        1 => return Ok(None),
        2 => {
            let numbers: Vec<i16> = wrong_type(choices, 4);
            return group.new_dataset_builder().no_chunk().with_data(&numbers).create(name).map(Some);
        }
        3 => drop(group.create_group(name)?),
        4 => shape.push(1),
        5 => {
            // space that is declared and never written
            shape[0] = choices.number() as usize >> choices.below(64);
            shape
                .iter()
                .try_fold(size_of::<T>(), |bytes, &axis| bytes.checked_mul(axis))
                .ok_or("more than can be")?;
            return group.new_dataset::<T>().no_chunk().shape(shape).create(name).map(Some);
        }
        6 => {
            values.truncate(values.len() / 2);
            shape[0] /= 2;
        }
        _ => {}
    }
    let chunked = choices.fault(1) == 1;
    let builder = if chunked {
        group.new_dataset::<T>().chunk(shape.iter().map(|&axis| axis.max(1)).collect::<Vec<_>>())
    } else {
        group.new_dataset::<T>().no_chunk()
    };
    let dataset = builder.shape(shape).create(name)?;
    dataset.write_raw(&values)?;
    Ok(Some(dataset))
}

/// `values`, or a changed copy: reversed, shortened or overwritten.
fn changed<T: Clone>(mut values: Vec<T>, choices: &mut Choices) -> Vec<T> {
    match choices.fault(3) {
        1 => values.reverse(),
        2 => values.truncate(usize::from(choices.byte())),
        3 => {
            let bytes = choices.bytes();
            let all = size_of::<T>() * values.len();
            if !std::mem::needs_drop::<T>() {
                let length = bytes.len().min(all);
                // SAFETY: T is a plain number, for which all bytes are valid, and at most `all` bytes are
                // written
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), values.as_mut_ptr().cast(), length) };
            }
        }
        _ => {}
    }
    values
}

/// Numbers of a type that packs do not have.
fn wrong_type(choices: &mut Choices, count: usize) -> Vec<i16> {
    (0..count).map(|_| i16::from(choices.byte())).collect()
}

/// Writes a valid seal. It may name wrong payloads.
fn seal(path: &Path, mut payloads: Vec<Range<u64>>, choices: &mut Choices) -> std::io::Result<()> {
    let file = fs::read(path)?;
    if choices.fault(1) == 1 {
        let start = choices.number();
        payloads.push(start..start.saturating_add(choices.number()));
    }
    payloads.sort_by_key(|range| range.start);
    let lines: String = payloads
        .iter()
        .map(|range| format!("payload {} {}\n", range.start, range.end - range.start))
        .collect();
    let head = format!("eqr-pack 3\nlength {}\n{lines}", file.len());
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_bytes());
    let mut from = SEAL;
    for range in payloads.iter().chain([&(file.len() as u64..0)]) {
        let to = (range.start.min(file.len() as u64)) as usize;
        hasher.update(file.get(from..to).unwrap_or_default());
        from = usize::try_from(range.end).unwrap_or(usize::MAX);
    }
    let mut block = format!("{head}blake3 {}\n", hasher.finalize().to_hex()).into_bytes();
    block.resize(block.len().max(SEAL), b' ');
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&block[..SEAL])
}
