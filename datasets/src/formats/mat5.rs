//! Struct arrays of scalars and texts in MATLAB level 5 files, such as ImageNet's `meta.mat`.
//!
//! Only little-endian files are supported. Variables may be compressed. Format: MathWorks, "MAT-File Format",
//! level 5.

use std::io::Read;

use flate2::read::ZlibDecoder;

use crate::file_kind::FileKind;

/// Size of the file header in bytes.
const HEADER: usize = 128;
/// Maximum size of an uncompressed variable in bytes. `meta.mat` has about 2 MB.
const LARGEST: u64 = 16 << 20;

const INT8: u32 = 1;
const UINT8: u32 = 2;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
const UTF16: u32 = 17;

/// Class number of struct arrays.
const STRUCT: u8 = 2;
/// Class number of character arrays.
const CHARACTERS: u8 = 4;

/// The value of one field of a struct array's element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A real scalar of any numeric class.
    Number(f64),
    /// A row of characters, which may be empty.
    Text(String),
    /// Anything else.
    Other,
}

/// Returns the `fields` of every element of the struct array `variable`. Memory use is at most a small
/// multiple of [`LARGEST`] and of the size of `bytes`, whatever sizes the file declares.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn struct_array<const N: usize>(
    bytes: &[u8],
    variable: &str,
    fields: [&str; N],
) -> Result<Vec<[Value; N]>, String> {
    let mut rest = after_header(bytes)?;
    while !rest.is_empty() {
        let element = next_element(&mut rest)?;
        let unzipped;
        let element = match element.kind {
            COMPRESSED => {
                unzipped = unzip(element.data)?;
                next_element(&mut unzipped.as_slice())?
            }
            _ => element,
        };
        let matrix = Matrix::parse(element)?;
        if matrix.name == variable.as_bytes() {
            return matrix.rows(fields);
        }
    }
    Err(format!("expected a variable `{variable}`, found none"))
}

/// The bytes after the header.
fn after_header(bytes: &[u8]) -> Result<&[u8], String> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| other_file(bytes))?;
    match &header[124..] {
        [0, 1, b'I', b'M'] => Ok(rest),
        [1, 0, b'M', b'I'] => Err("a big-endian MATLAB file, expected a little-endian one".into()),
        _ if header.starts_with(b"\x89HDF") || header.starts_with(b"MATLAB 7.3") => {
            Err("a MATLAB 7.3 file, expected a version 5 one".into())
        }
        _ => Err(other_file(bytes)),
    }
}

fn other_file(bytes: &[u8]) -> String {
    FileKind::of(bytes).instead_of("a MATLAB 5 file", "hint: get it again from the devkit")
}

/// Decompresses a variable.
fn unzip(zipped: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut decoder = ZlibDecoder::new(zipped).take(LARGEST + 1);
    decoder.read_to_end(&mut bytes).map_err(|error| format!("a compressed variable is damaged: {error}"))?;
    match bytes.len() as u64 <= LARGEST {
        true => Ok(bytes),
        false => Err(format!("a compressed variable is larger than {LARGEST} bytes")),
    }
}

/// A data element: a tag and its bytes.
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

/// Takes the next element.
fn next_element<'a>(rest: &mut &'a [u8]) -> Result<Element<'a>, String> {
    let tag = take(rest, 8)?;
    let (kind, length) = (read_u32(&tag[..4]), read_u32(&tag[4..]) as usize);
    let (small_length, small_kind) = ((kind >> 16) as usize, kind & 0xffff);
    if small_length > 0 {
        let data =
            tag[4..].get(..small_length).ok_or_else(|| format!("a small element of {small_length} bytes"))?;
        return Ok(Element { kind: small_kind, data });
    }
    let data = take(rest, length)?;
    if kind != COMPRESSED {
        // some writers omit the padding of the last element
        let padding = length.next_multiple_of(8) - length;
        take(rest, padding.min(rest.len()))?;
    }
    Ok(Element { kind, data })
}

/// Takes the next `length` bytes.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(length).ok_or_else(|| {
        let left = rest.len();
        format!("the file is truncated or damaged: {length} bytes expected, {left} left")
    })?;
    *rest = left;
    Ok(taken)
}

/// Takes the next element, which must be of type `kind`.
fn expect<'a>(rest: &mut &'a [u8], kind: u32, what: &str) -> Result<&'a [u8], String> {
    let element = next_element(rest)?;
    match element.kind == kind {
        true => Ok(element.data),
        false => Err(format!("expected {what} (type {kind}), found type {}", element.kind)),
    }
}

/// Reads a little-endian number. Missing bytes count as zeros.
fn read_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, &byte| (number << 8) | u32::from(byte))
}

/// An array of any class (a `miMATRIX` element).
struct Matrix<'a> {
    class: u8,
    /// Number of rows and product of all other dimensions.
    size: [u64; 2],
    name: &'a [u8],
    /// The bytes after the name.
    rest: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Parses the array in an element.
    fn parse(element: Element<'a>) -> Result<Self, String> {
        if element.kind != MATRIX {
            return Err(format!("expected an array (type {MATRIX}), found type {}", element.kind));
        }
        let mut rest = element.data;
        let flags = expect(&mut rest, UINT32, "array flags")?;
        let &class = flags.first().ok_or("empty array flags")?;
        let size = rows_and_others(expect(&mut rest, INT32, "dimensions")?)?;
        let name = expect(&mut rest, INT8, "an array's name")?;
        Ok(Matrix { class, size, name, rest })
    }

    /// Returns the `fields` of every element of this struct array, in MATLAB's column-major order.
    fn rows<const N: usize>(mut self, fields: [&str; N]) -> Result<Vec<[Value; N]>, String> {
        if self.class != STRUCT {
            return Err(format!("expected a struct array (class {STRUCT}), found class {}", self.class));
        }
        let count = self.size[0].checked_mul(self.size[1]).ok_or("a struct array with too many elements")?;
        let (positions, all) = self.positions(fields)?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let mut row = [const { Value::Other }; N];
            for position in 0..all {
                let element = next_element(&mut self.rest)?;
                if let Some(wanted) = positions.iter().position(|&wanted| wanted == position) {
                    row[wanted] = field_value(element)?;
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Returns the positions of `fields` among all fields, and the number of all fields. A struct array must
    /// have at least one field: otherwise its elements have no bytes, and a small file could declare any
    /// number of them.
    fn positions<const N: usize>(&mut self, fields: [&str; N]) -> Result<([usize; N], usize), String> {
        const { assert!(N > 0) };
        let length = read_u32(expect(&mut self.rest, INT32, "the length of field names")?) as usize;
        let names = expect(&mut self.rest, INT8, "field names")?;
        if length == 0 || names.len() % length != 0 {
            return Err(format!("field names of {length} bytes each in {} bytes", names.len()));
        }
        let names: Vec<&[u8]> = names.chunks(length).map(until_zero).collect();
        let mut positions = [0; N];
        for (position, field) in positions.iter_mut().zip(fields) {
            let found = names.iter().position(|name| *name == field.as_bytes());
            *position = found.ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
                format!("expected a field `{field}`, found {}", names.join(", "))
            })?;
        }
        Ok((positions, names.len()))
    }
}

/// Number of rows and product of all other dimensions.
fn rows_and_others(dimensions: &[u8]) -> Result<[u64; 2], String> {
    let mut lengths = dimensions.chunks(4).map(|bytes| u64::from(read_u32(bytes)));
    let rows = lengths.next().ok_or("an array without dimensions")?;
    let others = lengths.try_fold(1u64, |product, length| product.checked_mul(length));
    Ok([rows, others.ok_or("an array with too many elements")?])
}

/// The bytes before the first zero.
fn until_zero(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The value of a field.
fn field_value(element: Element) -> Result<Value, String> {
    // an empty array may be written without any bytes
    if element.kind == MATRIX && element.data.is_empty() {
        return Ok(Value::Other);
    }
    let mut matrix = Matrix::parse(element)?;
    match (matrix.class, matrix.size) {
        (CHARACTERS, [1, _] | [0, _]) => text(&next_element(&mut matrix.rest)?).map(Value::Text),
        (6..=15, [1, 1]) => number(&next_element(&mut matrix.rest)?).map(Value::Number),
        _ => Ok(Value::Other),
    }
}

/// Decodes characters in any of the supported encodings.
fn text(element: &Element) -> Result<String, String> {
    let text = match element.kind {
        INT8 | UINT8 | UTF8 => std::str::from_utf8(element.data).ok().map(str::to_owned),
        UINT16 | UTF16 => {
            let units: Vec<u16> = element.data.chunks(2).map(|unit| read_u32(unit) as u16).collect();
            String::from_utf16(&units).ok()
        }
        other => return Err(format!("characters of unsupported type {other}")),
    };
    text.ok_or_else(|| "characters that are not valid text".into())
}

/// Decodes a scalar. It may be stored as a smaller type than its class says.
fn number(element: &Element) -> Result<f64, String> {
    let bytes = element.data;
    let number = match element.kind {
        1 => bytes.try_into().ok().map(|b| f64::from(i8::from_le_bytes(b))),
        2 => bytes.try_into().ok().map(|b| f64::from(u8::from_le_bytes(b))),
        3 => bytes.try_into().ok().map(|b| f64::from(i16::from_le_bytes(b))),
        4 => bytes.try_into().ok().map(|b| f64::from(u16::from_le_bytes(b))),
        5 => bytes.try_into().ok().map(|b| f64::from(i32::from_le_bytes(b))),
        6 => bytes.try_into().ok().map(|b| f64::from(u32::from_le_bytes(b))),
        7 => bytes.try_into().ok().map(|b| f64::from(f32::from_le_bytes(b))),
        9 => bytes.try_into().ok().map(f64::from_le_bytes),
        12 => bytes.try_into().ok().map(|b| i64::from_le_bytes(b) as f64),
        13 => bytes.try_into().ok().map(|b| u64::from_le_bytes(b) as f64),
        other => return Err(format!("a number of unsupported type {other}")),
    };
    number.ok_or_else(|| format!("a number of type {} in {} bytes", element.kind, bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::damage;

    /// Written by scripts/reference/meta_mat.py.
    const COMPRESSED_META: &[u8] = include_bytes!("../../tests/reference/meta.mat");
    const PLAIN_META: &[u8] = include_bytes!("../../tests/reference/meta_plain.mat");

    fn synsets(bytes: &[u8]) -> Result<Vec<[Value; 3]>, String> {
        struct_array(bytes, "synsets", ["ILSVRC2012_ID", "WNID", "words"])
    }

    fn row(id: f64, wnid: &str, words: &str) -> [Value; 3] {
        [Value::Number(id), Value::Text(wnid.into()), Value::Text(words.into())]
    }

    #[test]
    fn the_devkit_s_struct_array_is_read_compressed_or_not() {
        for bytes in [COMPRESSED_META, PLAIN_META] {
            let rows = synsets(bytes).unwrap();
            assert_eq!(rows.len(), 6);
            assert_eq!(rows[0], row(1.0, "n02119789", "kit fox, Vulpes macrotis"));
            assert_eq!(rows[3], row(4.0, "n02096294", "Australian terrier"));
            assert_eq!(rows[4], row(1001.0, "n00001740", "entity"));
        }
    }

    #[test]
    fn a_column_of_children_is_no_scalar() {
        let rows = struct_array(PLAIN_META, "synsets", ["children", "num_children"]).unwrap();
        assert_eq!(rows[4], [Value::Other, Value::Number(2.0)]);
        assert_eq!(rows[0][1], Value::Number(0.0));
    }

    #[test]
    fn missing_names_are_reported() {
        let error = struct_array(PLAIN_META, "synset", ["WNID"]).unwrap_err();
        assert!(error.contains("variable `synset`"), "{error}");
        let error = struct_array(PLAIN_META, "synsets", ["wnid"]).unwrap_err();
        assert!(error.contains("field `wnid`, found ILSVRC2012_ID, WNID"), "{error}");
        let error = struct_array(PLAIN_META, "version", ["WNID"]).unwrap_err();
        assert!(error.contains("expected a struct array"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(synsets(b"").unwrap_err().contains("expected a MATLAB 5 file, found an empty file"));
        assert!(synsets(&[0; 200]).unwrap_err().contains("expected a MATLAB 5 file, found a file of zeros"));
        let mut big_endian = PLAIN_META.to_vec();
        big_endian[124..128].copy_from_slice(&[1, 0, b'M', b'I']);
        assert!(synsets(&big_endian).unwrap_err().contains("big-endian"));
    }

    #[test]
    fn a_zip_bomb_is_not_unzipped() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::copy(&mut std::io::repeat(0).take(LARGEST + 1), &mut encoder).unwrap();
        let zipped = encoder.finish().unwrap();
        let mut file = PLAIN_META[..HEADER].to_vec();
        file.extend_from_slice(&COMPRESSED.to_le_bytes());
        file.extend_from_slice(&(zipped.len() as u32).to_le_bytes());
        file.extend_from_slice(&zipped);
        assert!(synsets(&file).unwrap_err().contains("larger than"));
    }

    #[test]
    fn characters_of_either_width_are_texts() {
        let wide: Vec<u8> = "Äsche".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&Element { kind: UINT16, data: &wide }).unwrap(), "Äsche");
        assert_eq!(text(&Element { kind: UTF8, data: "Äsche".as_bytes() }).unwrap(), "Äsche");
        text(&Element { kind: UTF8, data: b"\xff" }).expect_err("no UTF-8");
        text(&Element { kind: UTF16, data: &[0, 0xd8] }).expect_err("half a pair");
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic() {
        damage(COMPRESSED_META, |bytes| drop(synsets(bytes)));
        damage(PLAIN_META, |bytes| drop(synsets(bytes)));
        for end in HEADER..COMPRESSED_META.len() - 1 {
            synsets(&COMPRESSED_META[..end]).expect_err("a truncated file is refused");
        }
    }
}
