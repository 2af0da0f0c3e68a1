//! A file of TensorBoard's events: scalars by step.
//!
//! The file is a sequence of TFRecords (length, its checksum, content, its checksum); each content is an
//! `Event` of tensorflow/core/util/event.proto. Of that message four fields are written: wall time, step,
//! version of the file, and a summary of named values.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the first event says.
const VERSION: &str = "brain.Event:2";

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// A file that events are appended to.
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// Makes a new file in `folder`, which is made if it is not there. TensorBoard reads all files of a
    /// folder as one run, so that a training that goes on adds a file.
    ///
    /// # Errors
    /// A file system error.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (seconds, process) = (wall_time().floor(), std::process::id());
        let name = format!("events.out.tfevents.{seconds:010}.{process}.eqr-bench");
        let mut file = EventFile { file: File::options().append(true).create(true).open(folder.join(name))? };
        file.append(&[fixed_64(1, wall_time()), bytes(3, VERSION.as_bytes())].concat())?;
        Ok(file)
    }

    /// Appends the values of a step.
    ///
    /// # Errors
    /// A file system error.
    pub fn write<'a>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> io::Result<()> {
        let value = |(name, value): (&str, f64)| {
            bytes(1, &[bytes(1, name.as_bytes()), fixed_32(2, value as f32)].concat())
        };
        let summary: Vec<u8> = values.into_iter().flat_map(value).collect();
        self.append(&[fixed_64(1, wall_time()), key(2, VARINT), varint(step), bytes(5, &summary)].concat())
    }

    /// Appends a record in one write, so that a reader never sees a part for long.
    fn append(&mut self, event: &[u8]) -> io::Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let sums = [masked_checksum(&length), masked_checksum(event)].map(u32::to_le_bytes);
        self.file.write_all(&[&length[..], &sums[0], event, &sums[1]].concat())
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn key(field: u8, wire_type: u8) -> Vec<u8> {
    vec![field << 3 | wire_type]
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn fixed_64(field: u8, value: f64) -> Vec<u8> {
    [&key(field, FIXED_64)[..], &value.to_le_bytes()].concat()
}

fn fixed_32(field: u8, value: f32) -> Vec<u8> {
    [&key(field, FIXED_32)[..], &value.to_le_bytes()].concat()
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    [&key(field, BYTES)[..], &varint(content.len() as u64), content].concat()
}

/// CRC-32C, turned and shifted as TFRecords have it.
fn masked_checksum(content: &[u8]) -> u32 {
    let sum = crc32c(content);
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: events are small.
fn crc32c(content: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !content.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contents of the records, whose checksums must be right.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let sum = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            assert_eq!(sum(&head[8..]), masked_checksum(&head[..8]));
            assert_eq!(sum(&rest[length..length + 4]), masked_checksum(&rest[..length]));
            found.push(rest[..length].to_vec());
            file = &rest[length + 4..];
        }
        found
    }

    /// The fields of a message: number and content. A varint is its bytes.
    fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        while let [key, rest @ ..] = message {
            let end = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let number = rest[..end].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
            let content = match key & 7 {
                VARINT => 0..end,
                FIXED_64 => 0..8,
                FIXED_32 => 0..4,
                _ => end..end + number,
            };
            found.push((key >> 3, rest[content.clone()].to_vec()));
            message = &rest[content.end..];
        }
        found
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("tensorboard/ours-seed0");
        let mut file = EventFile::create(&place).unwrap();
        file.write(300, [("loss", 0.5), ("terms/mse", -2.0)]).unwrap();
        let path = fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
        assert!(path.file_name().unwrap().to_string_lossy().contains("tfevents"));
        let [version, values] = &records(&fs::read(path).unwrap())[..] else { panic!("two events") };
        assert_eq!(fields(version)[1], (3, VERSION.as_bytes().to_vec()));
        let [(1, time), (2, step), (5, summary)] = &fields(values)[..] else { panic!("{values:?}") };
        assert!(f64::from_le_bytes(time[..].try_into().unwrap()) > 1.6e9);
        assert_eq!(step, &varint(300));
        let read = |(_, value): &(u8, Vec<u8>)| {
            let [(1, name), (2, number)] = &fields(value)[..] else { panic!("{value:?}") };
            (String::from_utf8(name.clone()).unwrap(), f32::from_le_bytes(number[..].try_into().unwrap()))
        };
        let read: Vec<(String, f32)> = fields(summary).iter().map(read).collect();
        assert_eq!(read, [("loss".to_owned(), 0.5), ("terms/mse".to_owned(), -2.0)]);
    }
}
