//! NumPy's `.npy` files, versions 1 to 3.
//!
//! The reader supports little-endian 32- and 64-bit floats and integers, bytes and texts (`<f4 <f8 <i4 <i8
//! |u1 <Un`) in C order with one or two dimensions. Lists and latents need no more. Format: NumPy's NEP 1, "A
//! Simple File Format for NumPy Arrays".

use crate::file_kind::FileKind;

/// An array with its values in C order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    /// One or two dimensions. Their product is the number of values.
    pub shape: Vec<usize>,
    pub values: Values,
}

/// The values of an array, by type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

/// Reads an array. Memory use is at most a small multiple of the size of `bytes`, whatever sizes the file
/// declares.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Array, String> {
    let (header, data) = header_and_data(bytes)?;
    let header = Header::parse(header)?;
    if header.fortran_order {
        return Err("expected values in C order, found Fortran order".into());
    }
    if !(1..=2).contains(&header.shape.len()) {
        return Err(format!("expected one or two dimensions, found {}", header.shape.len()));
    }
    let element = ElementType::from_descr(header.descr)?;
    let count = header.shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length));
    match count.and_then(|count| count.checked_mul(element.bytes())) {
        Some(expected) if expected == data.len() => {
            Ok(Array { shape: header.shape, values: element.values(data)? })
        }
        _ => {
            let found = data.len();
            Err(format!(
                "{found} bytes of values do not fill the shape {:?} of {}",
                header.shape, header.descr
            ))
        }
    }
}

/// Splits the file into its header and the bytes of the values.
fn header_and_data(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let rest = bytes
        .strip_prefix(b"\x93NUMPY")
        .ok_or_else(|| FileKind::of(bytes).instead_of("a .npy file", "hint: numpy.save writes one"))?;
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (u32::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        [major @ (0 | 4..), minor, ..] => {
            return Err(format!("expected .npy version 1 to 3, found {major}.{minor}"));
        }
        _ => return Err("the file is truncated in its header".into()),
    };
    let (header, data) =
        rest.split_at_checked(length as usize).ok_or("the file is truncated in its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    Ok((header, data))
}

/// The header.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Parses the header, a Python dict with three keys in any order.
    fn parse(text: &'a str) -> Result<Self, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut literal = LiteralParser { rest: text };
        literal.expect('{')?;
        while !literal.takes('}') {
            let key = literal.string()?;
            literal.expect(':')?;
            match key {
                "descr" => descr = Some(literal.string()?),
                "fortran_order" => fortran_order = Some(literal.boolean()?),
                "shape" => shape = Some(literal.tuple()?),
                _ => return Err(format!("unknown key {key:?} in the header")),
            }
            if !literal.takes(',') {
                literal.expect('}')?;
                break;
            }
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Header { descr, fortran_order, shape }),
            _ => Err("expected descr, fortran_order and shape in the header".into()),
        }
    }
}

/// A parser of Python literals.
struct LiteralParser<'a> {
    /// The text that is still to be parsed.
    rest: &'a str,
}

impl<'a> LiteralParser<'a> {
    /// Consumes `token` and returns true if it comes next.
    fn takes(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        match self.takes(token) {
            true => Ok(()),
            false => Err(format!("expected `{token}` in the header, found {:?}", self.ahead())),
        }
    }

    /// The next characters, for error messages.
    fn ahead(&self) -> String {
        self.rest.chars().take(16).collect()
    }

    /// Parses a quoted string. NumPy writes no escapes here.
    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.takes('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect(quote)?;
        }
        let (text, rest) = self.rest.split_once(quote).ok_or("a string in the header is not terminated")?;
        self.rest = rest;
        Ok(text)
    }

    /// Takes the letters and digits before the next token.
    fn word(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match self.word() {
            "True" => Ok(true),
            "False" => Ok(false),
            other => Err(format!("expected True or False in the header, found {other:?}")),
        }
    }

    /// Parses a shape: `(7,)`, `(3, 7)` or `()`.
    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut lengths = Vec::new();
        while !self.takes(')') {
            let word = self.word();
            lengths
                .push(word.parse().map_err(|_| format!("expected a length in the shape, found {word:?}"))?);
            if !self.takes(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(lengths)
    }
}

/// How a value is stored.
#[derive(Clone, Copy)]
enum ElementType {
    F4,
    F8,
    I4,
    I8,
    U1,
    /// UTF-32 text of this many characters, padded with zeros.
    Text(usize),
}

impl ElementType {
    /// The element type that a `descr` entry names.
    fn from_descr(descr: &str) -> Result<Self, String> {
        match descr {
            "<f4" => Ok(ElementType::F4),
            "<f8" => Ok(ElementType::F8),
            "<i4" => Ok(ElementType::I4),
            "<i8" => Ok(ElementType::I8),
            "|u1" => Ok(ElementType::U1),
            _ => match descr.strip_prefix("<U").and_then(|length| length.parse().ok()) {
                // texts of length 0 take no bytes, so a small file could declare any number of them
                Some(length @ 1..=0xffff) => Ok(ElementType::Text(length)),
                _ => Err(format!(
                    "expected values of <f4, <f8, <i4, <i8, |u1 or <U1 to <U65535, found {descr:?}"
                )),
            },
        }
    }

    /// Size of a value in bytes.
    fn bytes(self) -> usize {
        match self {
            ElementType::U1 => 1,
            ElementType::F4 | ElementType::I4 => 4,
            ElementType::F8 | ElementType::I8 => 8,
            ElementType::Text(length) => 4 * length,
        }
    }

    /// Decodes the values in `data`.
    fn values(self, data: &[u8]) -> Result<Values, String> {
        Ok(match self {
            ElementType::F4 => Values::Floats(numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes)))),
            ElementType::F8 => Values::Floats(numbers(data, f64::from_le_bytes)),
            ElementType::I4 => Values::Integers(numbers(data, |bytes| i64::from(i32::from_le_bytes(bytes)))),
            ElementType::I8 => Values::Integers(numbers(data, i64::from_le_bytes)),
            ElementType::U1 => Values::Integers(numbers(data, |[byte]| i64::from(byte))),
            ElementType::Text(_) => {
                Values::Texts(data.chunks_exact(self.bytes()).map(text).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// Converts every `N` bytes to a number.
fn numbers<const N: usize, T>(data: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
}

/// The characters before the padding.
fn text(utf32: &[u8]) -> Result<String, String> {
    let characters = numbers(utf32, u32::from_le_bytes);
    let length = characters.iter().rposition(|&c| c != 0).map_or(0, |last| last + 1);
    let is_character = |&c: &u32| char::from_u32(c).ok_or_else(|| format!("{c:#x} is not a character"));
    characters[..length].iter().map(is_character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{damage, npy, npy_with_header, utf32};

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err()
    }

    #[test]
    fn files_of_numpy_are_read() {
        // written by scripts/reference/npy.py
        let paths = read(include_bytes!("../../tests/reference/paths.npy")).unwrap();
        let expected = ["/02691156/a0", "/03001627/größer"].map(String::from).to_vec();
        assert_eq!(paths, Array { shape: vec![2], values: Values::Texts(expected) });
        let labels = read(include_bytes!("../../tests/reference/labels.npy")).unwrap();
        assert_eq!(labels, Array { shape: vec![2], values: Values::Integers(vec![1, 0]) });
        let latents = read(include_bytes!("../../tests/reference/latents.npy")).unwrap();
        assert_eq!(latents.values, Values::Floats(vec![0.1, -0.2, 1.5, 0.25, 0.7, 6.0, 1.0]));
    }

    #[test]
    fn numbers_of_every_type_are_read() {
        let floats = |descr, data: &[u8]| read(&npy(descr, "(2,)", data)).unwrap().values;
        let f4: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let f8: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let i4: Vec<u8> = [7i32, -8].iter().flat_map(|v| v.to_le_bytes()).collect();
        let i8: Vec<u8> = [7i64, -8].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(floats("<f4", &f4), Values::Floats(vec![1.5, -2.0]));
        assert_eq!(floats("<f8", &f8), Values::Floats(vec![1.5, -2.0]));
        assert_eq!(floats("<i4", &i4), Values::Integers(vec![7, -8]));
        assert_eq!(floats("<i8", &i8), Values::Integers(vec![7, -8]));
        assert_eq!(floats("|u1", &[3, 255]), Values::Integers(vec![3, 255]));
    }

    #[test]
    fn texts_lose_their_padding() {
        let array = read(&npy("<U5", "(2,)", &utf32(&["/a/ö", ""], 5))).unwrap();
        assert_eq!(array.values, Values::Texts(vec!["/a/ö".into(), String::new()]));
        let mut bad = utf32(&["ab"], 2);
        bad[0..4].copy_from_slice(&0xd800u32.to_le_bytes());
        assert!(refused(&npy("<U2", "(1,)", &bad)).contains("0xd800 is not a character"));
    }

    #[test]
    fn the_shape_has_one_or_two_dimensions_that_the_bytes_fill() {
        assert_eq!(read(&npy("|u1", "(2, 3)", &[0; 6])).unwrap().shape, [2, 3]);
        assert_eq!(read(&npy("|u1", "(0,)", &[])).unwrap().values, Values::Integers(vec![]));
        for shape in ["()", "(1, 2, 3)"] {
            assert!(refused(&npy("|u1", shape, &[0; 6])).contains("one or two dimensions"), "{shape}");
        }
        for shape in ["(7,)", "(5,)", "(9223372036854775807, 4)", "(18446744073709551615,)"] {
            assert!(refused(&npy("|u1", shape, &[0; 6])).contains("do not fill the shape"), "{shape}");
        }
        for shape in ["(-1,)", "(6", "6", "(6;)", "(99999999999999999999,)"] {
            read(&npy("|u1", shape, &[0; 6])).expect_err(shape);
        }
    }

    #[test]
    fn other_types_and_orders_are_refused() {
        for descr in [">f8", "|O", "<U0", "<U", "<c16", "<U9999999999999999999"] {
            assert!(refused(&npy(descr, "(1,)", &[0; 8])).contains("expected values of"), "{descr}");
        }
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }";
        assert!(refused(&npy_with_header(1, header, &[0])).contains("C order"));
    }

    #[test]
    fn every_version_and_order_of_keys_is_read() {
        let header = "{\"shape\": (1,), 'fortran_order': False, 'descr': '|u1'}\n";
        for version in [1, 2, 3] {
            let bytes = npy_with_header(version, header, &[9]);
            assert_eq!(read(&bytes).unwrap().values, Values::Integers(vec![9]), "version {version}");
        }
        assert!(refused(&npy_with_header(4, header, &[9])).contains("version 1 to 3, found 4.0"));
        assert!(refused(b"PK\x03\x04").contains("expected a .npy file, found a zip archive"));
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic() {
        let whole = npy("<U5", "(2,)", &utf32(&["/a/ö", "b"], 5));
        damage(&whole, |bytes| drop(read(bytes)));
        for end in 0..whole.len() {
            read(&whole[..end]).expect_err("a truncated file is refused");
        }
    }
}
