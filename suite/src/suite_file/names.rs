//! File names of rows and data sets.

/// Longest name in bytes. A cell's name holds up to three of them, and file systems allow 255 bytes.
const LONGEST: usize = 60;

/// Bytes of the hash that stands for the rest of a long name.
const HASH: usize = 12;

/// The letters and digits of a name in lower case, with dashes between its words.
pub fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// The slug of a name as part of a file's name: a hash of the whole name replaces the end of a long one.
pub fn file_name(name: &str) -> String {
    let slug = slug(name);
    if slug.len() <= LONGEST {
        return slug;
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("{}-{}", slug[..LONGEST - HASH - 1].trim_end_matches('-'), &hash[..HASH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for (name, file) in [
            ("SIE(rot+color)", "sie-rot-color"),
            ("../../keep", "keep"),
            ("/etc/passwd", "etc-passwd"),
            ("..", ""),
            ("a\u{202e}b\u{1b}[31m", "a-b-31m"),
            ("Ähre", "hre"),
        ] {
            assert_eq!(file_name(name), file);
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let long = "x".repeat(400);
        let [one, other] = [format!("{long}a"), format!("{long}b")].map(|name| file_name(&name));
        assert!(one.len() <= LONGEST && other.len() <= LONGEST && one != other, "{one} {other}");
        let edge = "y".repeat(LONGEST);
        assert_eq!(file_name(&edge), edge);
    }
}
