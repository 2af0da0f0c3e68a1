//! What a file is, told by its first bytes. Every reader that does not recognise its input asks here, so that
//! its error says what was found.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tar::Header;

/// Number of bytes that [`FileKind::of`] looks at: the first header of a tar.
pub const HEAD: usize = 512;

/// Generates the enum with the name of each kind.
macro_rules! file_kinds {
    ($($kind:ident = $name:literal,)*) => {
        /// The kinds of files that are told apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FileKind {
            $(#[doc = $name] $kind,)*
        }

        impl FileKind {
            /// Name in the singular, without an article. The plural has an `s` at the end.
            pub fn name(self) -> &'static str {
                match self {
                    $(FileKind::$kind => $name,)*
                }
            }
        }
    };
}

file_kinds! {
    // images that the program reads
    Jpeg = "JPEG image",
    Png = "PNG image",
    Gif = "GIF image",
    Bmp = "BMP image",
    WebP = "WebP image",
    Tiff = "TIFF image",
    // images that it does not read
    Avif = "AVIF image",
    Heic = "HEIC image",
    JpegXl = "JPEG XL image",
    Jpeg2000 = "JPEG 2000 image",
    Svg = "SVG drawing",
    RawPhotograph = "raw photograph of a camera",
    Photoshop = "Photoshop image",
    Icon = "Windows icon",
    Netpbm = "Netpbm image",
    OpenExr = "OpenEXR image",
    Radiance = "Radiance HDR image",
    Dds = "DDS texture",
    Qoi = "QOI image",
    // what stands in place of a file
    Empty = "empty file",
    Zeros = "file of zeros",
    GitLfsPointer = "Git LFS pointer",
    Html = "HTML page",
    Xml = "XML document",
    // archives and compressed files
    Tar = "tar archive",
    Zip = "zip archive",
    Gzip = "gzip-compressed file",
    Bzip2 = "bzip2-compressed file",
    Xz = "xz-compressed file",
    Zstd = "zstd-compressed file",
    Lz4 = "lz4-compressed file",
    Compress = "file compressed by `compress`",
    SevenZip = "7-Zip archive",
    Rar = "RAR archive",
    // weights and arrays
    Pack = "pack of this program",
    Hdf5 = "HDF5 file",
    Safetensors = "safetensors file",
    TorchZip = "PyTorch file (torch.save or TorchScript)",
    Pickle = "Python pickle",
    Numpy = "NumPy array",
    NumpyZip = "NumPy archive (.npz)",
    Matlab = "MATLAB file",
    Gguf = "GGUF file",
    Parquet = "Parquet table",
    Arrow = "Arrow table",
    Sqlite = "SQLite database",
    // documents, film and sound, programs
    OfficeDocument = "Office document",
    Pdf = "PDF document",
    Video = "video",
    Audio = "sound file",
    Program = "program",
    Json = "JSON file",
    Utf16Text = "UTF-16 text file",
    Text = "text file",
    Unknown = "file of an unknown kind",
}

use FileKind as K;

/// Kinds that are told by their first bytes alone. Longer marks come before their beginnings.
const MARKS: [(&[u8], FileKind); 42] = [
    (b"\xff\xd8\xff", K::Jpeg),
    (b"\x89PNG\r\n\x1a\n", K::Png),
    (b"GIF87a", K::Gif),
    (b"GIF89a", K::Gif),
    (b"II+\0", K::Tiff),
    (b"MM\0+", K::Tiff),
    (b"\xff\x0a", K::JpegXl),
    (b"\0\0\0\x0cJXL ", K::JpegXl),
    (b"\0\0\0\x0cjP  ", K::Jpeg2000),
    (b"\xff\x4f\xff\x51", K::Jpeg2000),
    (b"8BPS\0", K::Photoshop),
    (b"\x76\x2f\x31\x01", K::OpenExr),
    (b"#?RADIANCE", K::Radiance),
    (b"#?RGBE", K::Radiance),
    (b"DDS ", K::Dds),
    (b"qoif", K::Qoi),
    (b"version https://git-lfs.github.com/spec/", K::GitLfsPointer),
    (b"\x1f\x8b", K::Gzip),
    (b"\xfd7zXZ\0", K::Xz),
    (b"\x28\xb5\x2f\xfd", K::Zstd),
    (b"\x04\x22\x4d\x18", K::Lz4),
    (b"\x1f\x9d", K::Compress),
    (b"7z\xbc\xaf\x27\x1c", K::SevenZip),
    (b"Rar!\x1a\x07", K::Rar),
    (b"eqr-pack ", K::Pack),
    (b"\x89HDF\r\n\x1a\n", K::Hdf5),
    (b"\x93NUMPY", K::Numpy),
    (b"MATLAB 5.0 MAT-file", K::Matlab),
    (b"MATLAB 7.3 MAT-file", K::Matlab),
    (b"GGUF", K::Gguf),
    (b"PAR1", K::Parquet),
    (b"ARROW1", K::Arrow),
    (b"SQLite format 3\0", K::Sqlite),
    (b"%PDF-", K::Pdf),
    (b"\x1a\x45\xdf\xa3", K::Video),
    (b"\0\0\x01\xba", K::Video),
    (b"ID3", K::Audio),
    (b"OggS", K::Audio),
    (b"fLaC", K::Audio),
    (b"\x7fELF", K::Program),
    (b"\xff\xfe", K::Utf16Text),
    (b"\xfe\xff", K::Utf16Text),
];

impl FileKind {
    /// The kind of a file that begins with `head`. More than [`HEAD`] bytes are not looked at.
    pub fn of(head: &[u8]) -> FileKind {
        let head = &head[..head.len().min(HEAD)];
        if head.is_empty() {
            return K::Empty;
        }
        // an empty tar is zeros as well; only its reader can tell
        if head.iter().all(|&byte| byte == 0) {
            return K::Zeros;
        }
        // a tar begins with the name of its first member, which may begin with any mark
        if is_tar_header(head) {
            return K::Tar;
        }
        let marked = MARKS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, kind)| *kind);
        marked
            .or_else(|| image(head))
            .or_else(|| zip_or_bzip2(head))
            .or_else(|| riff_or_boxes(head))
            .or_else(|| serialised(head))
            .or_else(|| text(head))
            .unwrap_or(K::Unknown)
    }

    /// The kind of the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_file(path: &Path) -> io::Result<FileKind> {
        let mut head = Vec::with_capacity(HEAD);
        File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
        Ok(FileKind::of(&head))
    }

    /// Whether the program reads images of this kind.
    pub fn is_readable_image(self) -> bool {
        matches!(self, K::Jpeg | K::Png | K::Gif | K::Bmp | K::WebP | K::Tiff)
    }

    /// Whether this is an image, a drawing or a photograph that the program does not read.
    pub fn is_other_image(self) -> bool {
        matches!(
            self,
            K::Avif
                | K::Heic
                | K::JpegXl
                | K::Jpeg2000
                | K::Svg
                | K::RawPhotograph
                | K::Photoshop
                | K::Icon
                | K::Netpbm
                | K::OpenExr
                | K::Radiance
                | K::Dds
                | K::Qoi
        )
    }

    /// Whether such a file only stands where another should be: a pointer, a server's page, nothing.
    pub fn is_stand_in(self) -> bool {
        matches!(self, K::Empty | K::Zeros | K::GitLfsPointer | K::Html | K::Xml)
    }

    /// What to do with such a file where another was expected, if that does not depend on the reader.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            K::Empty | K::Zeros => "hint: its download or copy did not finish; get it again",
            K::GitLfsPointer => {
                "hint: it stands for the file; `git lfs pull` in its repository gets the file"
            }
            K::Html | K::Xml => {
                "hint: a server's page was saved in place of the file; open it as text to see what it says"
            }
            K::Gzip => "hint: unpack it with gunzip",
            K::Bzip2 => "hint: unpack it with bunzip2",
            K::Xz => "hint: unpack it with unxz",
            K::Zstd => "hint: unpack it with unzstd",
            K::Lz4 => "hint: unpack it with unlz4",
            K::Compress => "hint: unpack it with uncompress",
            K::SevenZip => "hint: unpack it with 7z",
            K::Rar => "hint: unpack it with unrar",
            K::Utf16Text => "hint: save it as UTF-8",
            kind if kind.is_other_image() => "hint: convert it to PNG or JPEG",
            _ => return None,
        })
    }

    /// The reason `expected .., found ..` with a hint: that of the kind, or else `hint`.
    pub fn instead_of(self, expected: &str, hint: &str) -> String {
        let hint = self.hint().unwrap_or(hint);
        format!("expected {expected}, found {self}\n{hint}")
    }

    /// `3 text files`.
    pub fn counted(self, count: usize) -> String {
        match (count, self) {
            (1, _) => format!("1 {}", self.name()),
            // the noun is not the last word
            (_, K::Zeros) => format!("{count} files of zeros"),
            (_, K::Unknown) => format!("{count} files of unknown kinds"),
            (_, K::Pack) => format!("{count} packs of this program"),
            (_, K::RawPhotograph) => format!("{count} raw photographs of cameras"),
            (_, K::TorchZip) => format!("{count} PyTorch files"),
            (_, K::NumpyZip) => format!("{count} NumPy archives (.npz)"),
            (_, K::Compress) => format!("{count} files compressed by `compress`"),
            _ => format!("{count} {}s", self.name()),
        }
    }
}

/// With an article: `an HTML page`.
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // letters that are spoken with a vowel first, in names that are abbreviations
        let vowel = match self {
            K::Html | K::Hdf5 | K::Xml | K::Svg | K::Lz4 | K::Xz => true,
            _ => self.name().starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']),
        };
        write!(f, "{} {}", if vowel { "an" } else { "a" }, self.name())
    }
}

/// Images whose mark is short, so that more of the header is looked at.
fn image(head: &[u8]) -> Option<FileKind> {
    let word = |at: usize| head.get(at..at + 2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    let bitmap_headers = [12, 16, 40, 52, 56, 64, 108, 124];
    if head.starts_with(b"BM") && head.len() > 18 && head[6..10] == [0; 4] {
        let header = u32::from_le_bytes([head[14], head[15], head[16], head[17]]);
        return bitmap_headers.contains(&header).then_some(K::Bmp);
    }
    if head.starts_with(b"II*\0") || head.starts_with(b"MM\0*") {
        return Some(if is_raw_photograph(head) { K::RawPhotograph } else { K::Tiff });
    }
    if head.starts_with(b"\0\0\x01\0") && (1..=64).contains(&word(4)?) && head.get(9) == Some(&0) {
        return Some(K::Icon);
    }
    match head {
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', next, ..] => {
            (next.is_ascii_digit() || *next == b'#' || head[1] == b'7').then_some(K::Netpbm)
        }
        _ => None,
    }
}

/// Whether the first image of a TIFF is a thumbnail, as in the raw files of cameras. Its first directory
/// begins with the tag NewSubfileType of value 1.
fn is_raw_photograph(head: &[u8]) -> bool {
    let little = head.starts_with(b"II");
    let number = |at: usize, bytes: usize| -> Option<u32> {
        let field = head.get(at..at.checked_add(bytes)?)?;
        let digits = field.iter().map(|&byte| u32::from(byte));
        let join = |sum: u32, digit: u32| sum << 8 | digit;
        Some(if little { digits.rev().fold(0, join) } else { digits.fold(0, join) })
    };
    let thumbnail = || {
        let first_entry = (number(4, 4)? as usize).checked_add(2)?;
        Some(number(first_entry, 2)? == 254 && number(first_entry.checked_add(8)?, 4)? & 1 == 1)
    };
    head.get(8..10) == Some(b"CR") || thumbnail() == Some(true)
}

/// Zips, of which several formats are made, which are told by their first member; and bzip2.
fn zip_or_bzip2(head: &[u8]) -> Option<FileKind> {
    if let [b'B', b'Z', b'h', b'1'..=b'9', b'1' | 0x17, ..] = head {
        return Some(K::Bzip2);
    }
    if head.starts_with(b"PK\x05\x06") || head.starts_with(b"PK\x07\x08PK\x03\x04") {
        return Some(K::Zip);
    }
    if !head.starts_with(b"PK\x03\x04") {
        return None;
    }
    let length = head.get(26..28).map_or(0, |length| usize::from(u16::from_le_bytes([length[0], length[1]])));
    let name = head.get(30..(30 + length).min(head.len())).unwrap_or_default();
    Some(if name.ends_with(b"/data.pkl") || name.ends_with(b"/.format_version") {
        K::TorchZip
    } else if name.ends_with(b".npy") && !name.contains(&b'/') {
        K::NumpyZip
    } else if name == b"[Content_Types].xml" || name == b"mimetype" {
        K::OfficeDocument
    } else {
        K::Zip
    })
}

/// Files of RIFF chunks, and of the boxes of MPEG-4.
fn riff_or_boxes(head: &[u8]) -> Option<FileKind> {
    if head.starts_with(b"RIFF") {
        return Some(match head.get(8..12)? {
            b"WEBP" => K::WebP,
            b"AVI " => K::Video,
            b"WAVE" => K::Audio,
            _ => return None,
        });
    }
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let brands = head.get(8..length.clamp(8, head.len())).unwrap_or_default();
    let has =
        |names: &[&[u8; 4]]| brands.chunks_exact(4).any(|brand| names.iter().any(|name| *name == brand));
    Some(if has(&[b"avif", b"avis"]) {
        K::Avif
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        K::Heic
    } else if has(&[b"M4A ", b"M4B "]) {
        K::Audio
    } else {
        K::Video
    })
}

/// Pickles and safetensors, whose marks are short.
fn serialised(head: &[u8]) -> Option<FileKind> {
    match head {
        // a protocol, then an opcode that begins a frame, a container, a number, a text or a global
        [
            0x80,
            2..=5,
            0x95 | b'}' | b']' | b'(' | b')' | b'c' | b'X' | b'U' | b'K' | b'J' | 0x8a | 0x8c,
            ..,
        ] => Some(K::Pickle),
        // the length of the header, then the header, which is JSON
        _ if head.len() > 9 => {
            let bytes: [u8; 8] = head[..8].try_into().ok()?;
            let next = head[9..].iter().find(|byte| !byte.is_ascii_whitespace());
            let is_header = head[8] == b'{' && matches!(next, Some(b'"' | b'}'));
            (is_header && u64::from_le_bytes(bytes) <= 100_000_000).then_some(K::Safetensors)
        }
        _ => None,
    }
}

/// Whether `head` is a tar header with a valid checksum. Tars older than POSIX have no magic bytes, so only
/// the checksum identifies them.
fn is_tar_header(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; HEAD]>::try_from(head) else { return false };
    let (before, after) = (&block[..148], &block[156..]);
    // the eight bytes of the checksum count as spaces
    let sum = before.iter().chain(after).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    header.cksum().is_ok_and(|declared| declared == sum)
}

/// Texts, and the formats that are texts.
fn text(head: &[u8]) -> Option<FileKind> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // the last character may be cut off
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        // text in an older encoding, such as Latin-1
        Err(_) if head.iter().all(|&byte| byte >= b' ' || byte.is_ascii_whitespace()) => {
            return Some(K::Text);
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let lower = text.trim_start().to_ascii_lowercase();
    let starts = |marks: &[&str]| marks.iter().any(|mark| lower.starts_with(mark));
    Some(if starts(&["<!doctype html", "<html", "<head", "<body", "<script", "<title"]) {
        K::Html
    } else if starts(&["<svg"]) || starts(&["<?xml", "<!doctype svg", "<!--"]) && lower.contains("<svg") {
        K::Svg
    } else if starts(&["<?xml", "<!--", "<!doctype"]) && lower.contains("<html") {
        K::Html
    } else if starts(&["<?xml", "<!doctype"]) {
        K::Xml
    } else if is_json(&lower) {
        K::Json
    } else {
        K::Text
    })
}

/// Whether a text begins like JSON and not like TOML, whose tables have names in brackets.
fn is_json(text: &str) -> bool {
    let mut signs = text.chars().filter(|c| !c.is_whitespace());
    match (signs.next(), signs.next()) {
        (Some('{'), Some(next)) => matches!(next, '"' | '}'),
        (Some('['), Some(next)) => matches!(next, '{' | '"' | ']' | '-') || next.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";

    fn boxed(brands: &str) -> Vec<u8> {
        let length = (8 + brands.len()) as u32;
        [&length.to_be_bytes()[..], b"ftyp", brands.as_bytes(), b"\0\0\0\x08mdat"].concat()
    }

    fn zipped(name: &str) -> Vec<u8> {
        let length = (name.len() as u16).to_le_bytes();
        [b"PK\x03\x04", &[0; 22][..], &length, &[0, 0], name.as_bytes(), b"content"].concat()
    }

    #[test]
    fn kinds_are_told_by_content() {
        let raw = b"II*\0\x08\0\0\0\x0c\0\xfe\0\x04\0\x01\0\0\0\x01\0\0\0";
        let scan = b"II*\0\x08\0\0\0\x0c\0\xfe\0\x04\0\x01\0\0\0\0\0\0\0";
        let bitmap = [b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", &[0; 36][..]].concat();
        let mut tar = tar::Header::new_ustar();
        tar.set_path("a/1.jpg").unwrap();
        tar.set_size(0);
        tar.set_cksum();
        let cases: Vec<(Vec<u8>, FileKind)> = vec![
            (b"".to_vec(), K::Empty),
            (vec![0; 40], K::Zeros),
            (POINTER.to_vec(), K::GitLfsPointer),
            (b"\n <!DOCTYPE html><html>".to_vec(), K::Html),
            (b"<?xml version=\"1.0\"?>\n<html xmlns=\"..\">".to_vec(), K::Html),
            (b"\xef\xbb\xbf<html>".to_vec(), K::Html),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>".to_vec(), K::Xml),
            (b"<?xml version=\"1.0\"?><!-- x --><svg width=\"3\">".to_vec(), K::Svg),
            (b"<svg xmlns=".to_vec(), K::Svg),
            (b"\x1f\x8b\x08\0".to_vec(), K::Gzip),
            (b"BZh91AY&SY".to_vec(), K::Bzip2),
            (b"\xfd7zXZ\0\0".to_vec(), K::Xz),
            (zipped("a/1.jpg"), K::Zip),
            (zipped("resnet/data.pkl"), K::TorchZip),
            (zipped("x.npy"), K::NumpyZip),
            (zipped("[Content_Types].xml"), K::OfficeDocument),
            (b"PK\x05\x06".to_vec(), K::Zip),
            (tar.as_bytes().to_vec(), K::Tar),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), K::Pickle),
            (b"\x80\x04\x95\x10\0\0".to_vec(), K::Pickle),
            (b"\x80\x02}q\0".to_vec(), K::Pickle),
            (b"\x93NUMPY\x01\0".to_vec(), K::Numpy),
            (b"\x89HDF\r\n\x1a\n\0".to_vec(), K::Hdf5),
            (b"eqr-pack 3\n".to_vec(), K::Pack),
            (b"\x12\0\0\0\0\0\0\0{\"a\":{}}".to_vec(), K::Safetensors),
            (b"\xff\xd8\xff\xe0".to_vec(), K::Jpeg),
            (bitmap, K::Bmp),
            (b"BMW is not a bitmap, but a line of text".to_vec(), K::Text),
            (b"RIFF\x10\0\0\0WEBPVP8 ".to_vec(), K::WebP),
            (scan.to_vec(), K::Tiff),
            (raw.to_vec(), K::RawPhotograph),
            (boxed("avif\0\0\0\0mif1miaf"), K::Avif),
            (boxed("mif1\0\0\0\0heic"), K::Heic),
            (boxed("isom\0\0\0\0mp41"), K::Video),
            (b"P6\n3 2\n255\n".to_vec(), K::Netpbm),
            (b"P5 is a variable".to_vec(), K::Text),
            (b"{\"error\": 404}".to_vec(), K::Json),
            (b"[1, 2]".to_vec(), K::Json),
            (b"name = \"x\"\n[data]\n".to_vec(), K::Text),
            (b"[data]\nkind = 1".to_vec(), K::Text),
            (b"\xff\xfed\0a\0t\0a\0".to_vec(), K::Utf16Text),
            (b"caf\xe9;3,5\n".to_vec(), K::Text),
            ("ä".repeat(256).into_bytes(), K::Text),
            (b"\x01\x02\x03\x04".to_vec(), K::Unknown),
        ];
        for (head, kind) in cases {
            let found = FileKind::of(&head);
            assert_eq!(found, kind, "{:?}", String::from_utf8_lossy(&head));
        }
    }

    #[test]
    fn a_file_has_an_article_a_plural_and_a_way_out() {
        assert_eq!(K::Html.to_string(), "an HTML page");
        assert_eq!(K::GitLfsPointer.to_string(), "a Git LFS pointer");
        assert_eq!(K::Avif.counted(1), "1 AVIF image");
        assert_eq!(K::Avif.counted(12), "12 AVIF images");
        let reason = K::GitLfsPointer.instead_of("a pack", "hint: pack it");
        assert!(reason.starts_with("expected a pack, found a Git LFS pointer\nhint: "), "{reason}");
        assert!(reason.contains("git lfs pull"), "{reason}");
        assert!(K::Text.instead_of("a pack", "hint: pack it").ends_with("found a text file\nhint: pack it"));
    }

    #[test]
    fn what_is_cut_off_is_no_panic() {
        let long = [POINTER, &[0xff; 600]].concat();
        for length in 0..long.len() {
            FileKind::of(&long[..length]);
            FileKind::of(&long[length..]);
        }
    }
}
