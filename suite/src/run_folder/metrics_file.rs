//! Reading a file with the columns of `metrics.csv`, as this program writes it or as a spreadsheet saves it.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use csv::{Reader, ReaderBuilder, StringRecord, Writer};
use eqr_datasets::FileKind;

/// What to do with a row that cannot be read.
pub const HINT: &str = "hint: the columns dataset, task, metric and value are needed, as in a run's metrics.csv; \
                        decimal commas need `;` or tabs between the columns";

/// Number of bytes from which the kind of the file and its separator are told.
const HEAD: u64 = 1 << 16;

/// What some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The column with numbers that may have a decimal comma.
const VALUE: &str = "value";

/// The rows of the file at `path`, which is read piece by piece. The columns may be separated by commas,
/// semicolons or tabs. In the last two cases a value may have a decimal comma.
///
/// # Errors
/// A file that cannot be read or is not text.
pub fn open(path: &Path) -> Result<Reader<Box<dyn Read>>> {
    let place = || path.display().to_string();
    let mut file = File::open(path).with_context(place)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).with_context(place)?;
    let kind = FileKind::of(&head);
    if kind.is_stand_in() || !is_text(&head) {
        let hint = "hint: save it as CSV with the encoding UTF-8";
        bail!("{}: {}", place(), kind.instead_of("a CSV file with the columns of metrics.csv", hint));
    }
    let start = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let separator = separator(&head[start..]);
    let mut head = Cursor::new(head);
    head.set_position(start as u64);
    let mut all = head.chain(file);
    if separator == b',' {
        return Ok(Reader::from_reader(Box::new(all)));
    }
    let mut text = Vec::new();
    all.read_to_end(&mut text).with_context(place)?;
    let text = with_commas(&text, separator).with_context(place)?;
    Ok(Reader::from_reader(Box::new(Cursor::new(text))))
}

/// Whether the beginning of a file is text. The last letter may be cut off.
fn is_text(head: &[u8]) -> bool {
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() as u64 == HEAD,
    };
    is_utf8 && !head.contains(&0)
}

/// The most frequent separator of the first line.
fn separator(text: &[u8]) -> u8 {
    let header = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| header.iter().filter(|&&byte| byte == separator).count();
    // the last of several maxima
    [b'\t', b';', b','].into_iter().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

/// The same rows with commas between the columns, and points in the values.
fn with_commas(text: &[u8], separator: u8) -> Result<Vec<u8>> {
    let mut from = ReaderBuilder::new().delimiter(separator).from_reader(text);
    let headers = from.headers()?.clone();
    let mut to = Writer::from_writer(Vec::new());
    to.write_record(&headers)?;
    for record in from.records() {
        let record = record.context(HINT)?;
        let fields = headers.iter().zip(&record).map(|(name, field)| match name {
            VALUE => with_point(field),
            _ => field.to_owned(),
        });
        to.write_record(&fields.collect::<StringRecord>())?;
    }
    to.into_inner().map_err(|error| anyhow!("{error}"))
}

/// A number with a decimal comma and no point, with a point.
fn with_point(number: &str) -> String {
    match number.matches(',').count() {
        1 if !number.contains('.') => number.replace(',', "."),
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Vec<String>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        let records = open(&path)?.into_records().collect::<Result<Vec<_>, _>>()?;
        Ok(records.iter().map(|record| record.iter().map(str::to_owned).collect()).collect())
    }

    #[test]
    fn spreadsheets_separate_by_semicolons_or_tabs() {
        for text in [
            "dataset,task,metric,value\nC,\"a, b\",r2,0.53\n",
            "\u{feff}dataset;task;metric;value\r\nC;a, b;r2;0,53\r\n",
            "dataset\ttask\tmetric\tvalue\nC\ta, b\tr2\t0.53\n",
        ] {
            assert_eq!(rows(text.as_bytes()).unwrap(), [["C", "a, b", "r2", "0.53"]], "{text:?}");
        }
        let thousands = rows(b"dataset;task;metric;value\nC;a;r2;1.234,5\n").unwrap();
        assert_eq!(thousands[0][3], "1.234,5", "not a number, and the reader of the row says so");
    }

    #[test]
    fn other_files_are_named() {
        for (bytes, says) in [
            (&b"<!DOCTYPE html><html>"[..], "found an HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "found a Git LFS pointer"),
            (b"\x1f\x8b\x08\0\xff", "found a gzip-compressed file"),
            (b"PK\x03\x04\0\xff", "found a zip archive"),
            (b"\xff\xfed\0a\0", "found a UTF-16 text file\nhint: save it as UTF-8"),
            (b"", "found an empty file"),
        ] {
            let message = format!("{:#}", rows(bytes).unwrap_err());
            assert!(message.contains(says) && message.contains("metrics.csv"), "{message}");
        }
    }
}
