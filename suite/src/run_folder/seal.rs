//! Seals of small JSON files: the second line holds the BLAKE3 hash of all other lines. A file that was
//! changed, cut or joined with another is so recognised when it is read. It stays plain JSON.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::run_folder::atomic_file::write_atomic;

/// What stands before and behind the hash in the line of the seal.
const AROUND: (&str, &str) = ("  \"blake3\": \"", "\",\n");

/// A JSON object with its seal.
///
/// # Errors
/// A value that is no JSON object, or an empty one.
pub fn seal(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let rest = text.strip_prefix("{\n").context("only objects with keys are sealed")?;
    let hash = blake3::hash(text.as_bytes()).to_hex();
    Ok(format!("{{\n{}{hash}{}{rest}", AROUND.0, AROUND.1))
}

/// A sealed text without its seal, and the hash that identifies it.
pub struct Unsealed {
    /// JSON.
    pub content: String,
    /// BLAKE3 hash of the content, as hexadecimal digits.
    pub hash: String,
}

/// Takes the seal off a text.
///
/// # Errors
/// No seal, or one of another text.
pub fn unseal(text: &str) -> Result<Unsealed> {
    let sealed = text.strip_prefix("{\n").and_then(|rest| rest.strip_prefix(AROUND.0));
    let (expected, rest) = sealed
        .and_then(|rest| rest.split_once(AROUND.1))
        .filter(|(hash, _)| hash.len() == 2 * blake3::OUT_LEN)
        .context("it has no checksum in its second line: an earlier version wrote it, or it was edited")?;
    let content = format!("{{\n{rest}");
    let hash = blake3::hash(content.as_bytes()).to_hex().to_string();
    match hash == expected {
        true => Ok(Unsealed { content, hash }),
        false => Err(anyhow!("it does not have the content of its checksum: it was changed or damaged")),
    }
}

/// Writes a sealed file, which is complete or absent.
///
/// # Errors
/// A file system error, with the path.
pub fn write_sealed(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomic(path, seal(value)?.as_bytes())
}

/// Reads a sealed file.
///
/// # Errors
/// A file that cannot be read, whose seal is absent or broken, or that holds something else; each names the
/// path.
pub fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", shown()))?;
    let damaged = || format!("{} is damaged", shown());
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("it is no text")).with_context(damaged)?;
    serde_json::from_str(&unseal(&text).with_context(damaged)?.content).with_context(damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_sealed_reads_as_it_was_and_stays_json() {
        let value = BTreeMap::from([("a", 0.1), ("b", -1e300)]);
        let text = seal(&value).unwrap();
        let read: BTreeMap<String, f64> = serde_json::from_str(&unseal(&text).unwrap().content).unwrap();
        assert_eq!(read, value.iter().map(|(key, value)| (key.to_string(), *value)).collect());
        let plain: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(plain["b"], -1e300);
        assert_eq!(plain["blake3"], unseal(&text).unwrap().hash);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let text = seal(&BTreeMap::from([("value", vec![0.25, 1.5]), ("other", vec![])])).unwrap();
        for (byte, bit) in (0..text.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut flipped = text.clone().into_bytes();
            flipped[byte] ^= 1 << bit;
            let read = String::from_utf8(flipped).ok().and_then(|text| unseal(&text).ok());
            assert!(read.is_none(), "byte {byte}, bit {bit}");
        }
        for end in 0..text.len() {
            assert!(unseal(&text[..end]).is_err(), "the first {end} bytes");
        }
    }

    #[test]
    fn only_objects_are_sealed() {
        assert!(seal(&[1, 2]).is_err());
        assert!(seal(&BTreeMap::<String, f64>::new()).is_err());
    }
}
