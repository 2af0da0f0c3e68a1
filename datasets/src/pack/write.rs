//! Writing a pack: first the HDF5 structure, then the image and mask bytes into the space that it reserves.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use hdf5::plist::dataset_create::{AllocTime, FillTime};
use hdf5::types::VarLenUnicode;
use ndarray::{Array, Array2, Dimension};

use super::contents::{Contents, Payload, SplitContents};
use super::format::{FORMAT, VERSION};
use super::seal::{SEAL_BYTES, Seal};
use super::storage::Storage;
use crate::error::{Error, Result};
use crate::output::{write_atomically, write_atomically_in};

/// Buffer size in bytes.
const BUFFER: usize = 1 << 20;

/// Writes the pack atomically. The temporary file is in the folder `temporaries`, or else beside the pack.
///
/// # Errors
/// [`Error::Io`] and [`Error::Hdf5`] if it cannot be written.
pub(crate) fn write(path: &Path, temporaries: Option<&Path>, contents: &Contents) -> Result<()> {
    let write = |temporary: &Path| {
        let places = write_structure(contents, temporary).map_err(Error::hdf5(path))?;
        fill(contents, &places, temporary).map_err(Error::io(path))?;
        Seal::write(temporary, places).map_err(Error::io(path))
    };
    match temporaries {
        Some(folder) => write_atomically_in(folder, path, write),
        None => write_atomically(path, write),
    }
}

/// Writes everything except the seal and the payloads. Returns the positions of the payloads in the order of
/// the splits, images before masks.
fn write_structure(contents: &Contents, path: &Path) -> hdf5::Result<Vec<Range<u64>>> {
    hdf5::silence_errors(true);
    let file = hdf5::File::with_options().with_fcpl(|p| p.userblock(SEAL_BYTES as u64)).create(path)?;
    write_attributes(contents, &file)?;
    let class_names = contents.class_names.iter().map(|name| text(name)).collect::<hdf5::Result<Vec<_>>>()?;
    write_array(&file, "class_names", &Array::from_vec(class_names))?;
    let mut places = Vec::new();
    for split in &contents.splits {
        let group = file.create_group(split.name)?;
        for (prefix, payload) in split.payloads() {
            places.push(write_payload(&group, prefix, payload)?);
        }
        write_array(&group, "labels", &Array::from_vec(split.labels.to_vec()))?;
        if let Some(names) = &split.names {
            let lines: String = names.iter().flat_map(|name| [*name, "\n"]).collect();
            write_array(&group, "names", &Array::from_vec(lines.into_bytes()))?;
        }
        if let Some(scene) = split.scene {
            let latents = write_array(&group, "latents", &scene.latents)?;
            latents.new_attr::<u64>().create("views")?.write_scalar(&(scene.views as u64))?;
        }
    }
    file.flush()?;
    file.close()?;
    Ok(places)
}

/// Reserves space for a payload and writes its index datasets.
fn write_payload(group: &hdf5::Group, prefix: &str, payload: &Payload) -> hdf5::Result<Range<u64>> {
    let reserve = |name: &str, shape: Vec<usize>| -> hdf5::Result<Range<u64>> {
        let builder = group.new_dataset::<u8>().no_chunk().obj_track_times(false);
        let builder = builder.alloc_time(Some(AllocTime::Early)).fill_time(FillTime::Never);
        let dataset = builder.shape(shape).create(name)?;
        let start = dataset.offset().ok_or("the images are not contiguous in the file")?;
        Ok(start..start + dataset.storage_size())
    };
    let count = payload.checksums.nrows();
    let place = match &payload.storage {
        Storage::Pixels { height, width, channels } => {
            let mut shape = vec![count, *height, *width];
            shape.extend((*channels > 1).then_some(*channels));
            reserve(&format!("{prefix}s"), shape)?
        }
        Storage::Encoded { places, sizes } => {
            write_array(group, &format!("{prefix}_places"), &Array2::from(places.clone()))?;
            write_array(group, &format!("{prefix}_sizes"), &Array2::from(sizes.clone()))?;
            reserve(&format!("{prefix}_bytes"), vec![places.iter().map(|place| place[1] as usize).sum()])?
        }
    };
    let name = if prefix == "image" { "checksums".to_owned() } else { format!("{prefix}_checksums") };
    write_array(group, &name, &payload.checksums)?;
    Ok(place)
}

/// Writes the payloads to their positions.
fn fill(contents: &Contents, places: &[Range<u64>], path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut out = BufWriter::with_capacity(BUFFER, &file);
    let payloads = contents.splits.iter().flat_map(SplitContents::payloads);
    for ((_, payload), place) in payloads.zip(places) {
        out.seek(SeekFrom::Start(place.start))?;
        (payload.write)(&mut out)?;
        let end = out.stream_position()?;
        if end != place.end {
            return Err(io::Error::other(format!(
                "{} bytes of images, expected {}",
                end - place.start,
                place.end - place.start
            )));
        }
    }
    out.flush()
}

/// Writes the root attributes.
fn write_attributes(contents: &Contents, file: &hdf5::File) -> hdf5::Result<()> {
    let texts = [
        ("format", FORMAT),
        ("name", contents.name),
        ("kind", contents.kind.name()),
        ("provenance", &contents.provenance.to_string()),
        ("content", &contents.hash()),
    ];
    for (name, value) in texts {
        file.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value)?)?;
    }
    file.new_attr::<u32>().create("format_version")?.write_scalar(&VERSION)?;
    file.new_attr_builder().with_data(&contents.mean).create("mean")?;
    file.new_attr_builder().with_data(&contents.std).create("std")?;
    Ok(())
}

/// An HDF5 string, which cannot contain zero bytes.
fn text(value: &str) -> hdf5::Result<VarLenUnicode> {
    value
        .parse()
        .map_err(|_| hdf5::Error::from(format!("{value:?} cannot be stored: it contains a zero byte")))
}

/// Writes a contiguous dataset without time stamps.
fn write_array<T: hdf5::H5Type + Clone, D: Dimension>(
    group: &hdf5::Group,
    name: &str,
    array: &Array<T, D>,
) -> hdf5::Result<hdf5::Dataset> {
    let array = array.as_standard_layout();
    group.new_dataset_builder().no_chunk().obj_track_times(false).with_data(array.view()).create(name)
}
