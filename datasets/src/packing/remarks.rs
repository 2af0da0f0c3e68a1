//! What the user should know about a finished pack.

use serde_json::Value;

use crate::pack::Pack;

/// Counts in the notes of a source, and what they count.
const COUNTS: [(&str, &str); 3] = [
    ("images_outside_splits", "images outside the folders of splits"),
    ("images_that_no_list_names", "images that no list names"),
    ("images_without_labels", "images without labels"),
];

/// One line about everything that was left out of `pack`, by kind, and a line for each peculiarity of its
/// input.
pub fn remarks(pack: &Pack) -> Vec<String> {
    let (provenance, notes) = (&pack.provenance, &pack.provenance["notes"]);
    let members = provenance["left_out"].as_array().into_iter().flatten();
    let unusable: u64 = members.map(|member| member["images"].as_u64().unwrap_or(1)).sum();
    let mut left_out = Vec::new();
    if unusable > 0 {
        let images = if unusable == 1 { "1 image".to_owned() } else { format!("{unusable} images") };
        left_out.push(format!("{images} that cannot be used, listed in the pack's provenance"));
    }
    left_out.extend(notes["files_passed_over_by_kind"].as_str().map(str::to_owned));
    let count = |(key, what): &(&str, &str)| match notes[key].as_u64() {
        None | Some(0) => None,
        Some(count) => Some(format!("{count} {what}")),
    };
    left_out.extend(COUNTS.iter().filter_map(count));
    let line = (!left_out.is_empty()).then(|| format!("left out: {}", left_out.join("; ")));
    let of_input = provenance["input_remarks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    line.into_iter().chain(of_input.map(|remark| format!("note: {remark}"))).collect()
}
