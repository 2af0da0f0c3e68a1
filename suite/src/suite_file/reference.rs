//! The reference of all keys of a suite, as Markdown, from the schema.

use std::fmt::Write;

use serde_json::Value;

use crate::suite_file::schema;
use crate::suite_file::shape::{names, tag};

const HEAD: &str = "\
# Keys of a suite

This page is made by `eqr-bench suites keys` from the program, and a test holds it. [suites.md](suites.md)
explains how suites are used. Only `data` and `model.patch` have no default. Each of several sections `[[data]]`
also has `key` and `set` ([several data sets](suites.md#several-data-sets)). For completion and checks in an
editor (taplo, Even Better TOML), put the schema beside the suite and name it in the first line:

```
eqr-bench suites schema > suite.schema.json
```

```toml
#:schema suite.schema.json
```
";

/// The page.
pub fn page() -> String {
    let mut sections = vec![Section {
        heading: "The file".to_owned(),
        about: "Keys before the first section.".to_owned(),
        schema: &schema::SUITE,
    }];
    find_sections(&schema::SUITE, "", &mut sections);
    let mut page = HEAD.to_owned();
    for section in sections {
        let _ = write!(page, "\n## {}\n\n{}\n\n{}", section.heading, section.about, section.keys());
    }
    page
}

/// A table of keys.
struct Section<'a> {
    heading: String,
    about: String,
    schema: &'a Value,
}

impl Section<'_> {
    fn keys(&self) -> String {
        let mut table = "| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
        for (key, schema) in properties(self.schema).filter(|(_, schema)| forms(schema).is_empty()) {
            let required = self.schema["required"].as_array().is_some_and(|keys| keys.contains(&key.into()));
            let default = match &schema["default"] {
                Value::Null if required => "required".to_owned(),
                Value::Null => String::new(),
                default => format!("`{default}`"),
            };
            let _ = writeln!(table, "| `{key}` | {} | {default} | {} |", kind(schema), meaning(schema));
        }
        table
    }
}

/// Adds the sections in `schema`, whose own name is `name`.
fn find_sections<'a>(schema: &'a Value, name: &str, sections: &mut Vec<Section<'a>>) {
    for (key, below) in properties(schema) {
        let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        for form in forms(below) {
            let list = below["type"] == "array";
            let form_of = tag(form).map(|(key, value)| format!(", {key} = \"{value}\"")).unwrap_or_default();
            let brackets = if list { format!("`[[{name}]]`") } else { format!("`[{name}]`{form_of}") };
            let about = form["description"].as_str().filter(|_| !form_of.is_empty());
            let about = about.or(below["description"].as_str()).unwrap_or_default();
            sections.push(Section { heading: brackets, about: about.to_owned(), schema: form });
            find_sections(form, &name, sections);
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, schema)| (key.as_str(), schema))
}

/// The forms of the section or of the sections that a key stands for; none for a value.
fn forms(schema: &Value) -> Vec<&Value> {
    if schema["properties"].is_object() {
        return vec![schema];
    }
    match (&schema["items"], schema["oneOf"].as_array()) {
        (items @ Value::Object(_), _) => forms(items),
        (_, Some(forms)) if names(schema).is_none() => forms.iter().collect(),
        _ => Vec::new(),
    }
}

fn kind(schema: &Value) -> String {
    if let Some(names) = names(schema) {
        return Vec::from_iter(names.iter().map(|name| format!("`\"{name}\"`"))).join(", ");
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => match &schema["items"] {
            Value::Array(each) => format!("list of {} {}s", each.len(), kind(&each[0])),
            every => match schema["maxItems"].as_u64() {
                Some(count) => format!("list of {count} {}s", kind(every)),
                None => format!("list of: {}", kind(every)),
            },
        },
        "object" => "section".to_owned(),
        "integer" => format!("whole number{}", range(schema)),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

fn range(schema: &Value) -> String {
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => String::new(),
        (least, Value::Null) => format!(" from {least}"),
        (least, most) => format!(", {least} to {most}"),
    }
}

/// The description of a key with those of the names that it can have.
fn meaning(schema: &Value) -> String {
    let own = schema["description"].as_str().unwrap_or_default().to_owned();
    let of_names = match &schema["items"] {
        items @ Value::Object(_) => items,
        _ => schema,
    };
    let explained = of_names["oneOf"].as_array().into_iter().flatten().filter_map(|form| {
        Some(format!(" `{}`: {}", form["const"].as_str()?, form["description"].as_str()?))
    });
    (own + &explained.collect::<String>()).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use crate::recorded_text::held_against;

    #[test]
    fn the_page_is_that_of_the_program() {
        held_against("docs/suite-reference.md", &super::page());
    }
}
