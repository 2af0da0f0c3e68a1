//! File names of rows and data sets.

/// The letters and digits of a name in lower case, with dashes between its words.
pub fn file_name(name: &str) -> String {
    let name = name.to_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}
