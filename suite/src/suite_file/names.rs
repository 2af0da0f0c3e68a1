//! Names of rows and data sets: as names of files, and what they say of the budget.

/// Letters and digits of a name in lower case, with dashes between its words.
pub fn file_name(name: &str) -> String {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// Follows the name of a method that trains for as many steps as the others.
pub const EQUAL_STEPS: &str = ", equal steps";

/// A row's name without what it says of the budget.
pub fn method_of(row: &str) -> &str {
    row.strip_suffix(EQUAL_STEPS).unwrap_or(row)
}
