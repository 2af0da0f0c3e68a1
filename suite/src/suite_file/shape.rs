//! Holds a suite against the schema: unknown and missing keys, wrong types and names, counts out of range.
//! All of them are found at once.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use crate::suite_file::key_path::KeyPath;
use crate::suite_file::problem::{Problem, Problems};
use crate::suite_file::suggestions::nearest;

/// Longest value that a message quotes, in characters.
const QUOTED: usize = 60;

/// A table held against a schema.
#[derive(Debug, Default)]
pub struct Shape {
    /// Everything that the schema does not allow.
    pub problems: Problems,
}

impl Shape {
    /// Checks `table`. Returns what the schema allows of it, with stand-ins for keys that are missing or
    /// wrong and have no default, so that the rest can be checked further.
    pub fn check(&mut self, table: &Table, schema: &Json) -> Table {
        match self.value(&KeyPath::default(), &Value::Table(table.clone()), schema) {
            Some(Value::Table(table)) => table,
            _ => Table::new(),
        }
    }

    /// `None` if the value is not allowed.
    fn value(&mut self, key: &KeyPath, value: &Value, schema: &Json) -> Option<Value> {
        if let Some(names) = names(schema) {
            return self.name(key, value, &names);
        }
        if let Some(forms) = schema["oneOf"].as_array() {
            return self.tagged(key, value, forms);
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Table(table)) => Some(self.section(key, table, schema).into()),
            (Some("array"), Value::Array(items)) => self.list(key, items, schema),
            (Some("integer" | "number"), Value::Integer(number)) => {
                self.in_range(key, *number, schema).then(|| value.clone())
            }
            (Some("number"), Value::Float(_))
            | (Some("boolean"), Value::Boolean(_))
            | (Some("string"), Value::String(_)) => Some(value.clone()),
            (kind, _) => self.refuse(key, format!("{key} = {}: expected {}", quoted(value), kind_name(kind))),
        }
    }

    fn section(&mut self, key: &KeyPath, table: &Table, schema: &Json) -> Table {
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut meant = Vec::new();
        let mut found = Table::new();
        for (name, value) in table {
            let allowed = match known.get(name).or(others) {
                Some(schema) => self.value(&key.join(name), value, schema),
                None => {
                    let near = nearest(name, known.keys().map(String::as_str));
                    meant.extend(near);
                    self.refuse(&key.join(name), unknown_key(key, name, near, known))
                }
            };
            found.extend(allowed.map(|value| (name.clone(), value)));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !table.contains_key(name) && !meant.contains(&name) {
                self.problems.0.push(Problem::new(key.join(name), missing(key, name, &known[name])));
            }
            if !found.contains_key(name) {
                found.insert(name.to_owned(), stand_in(&known[name]));
            }
        }
        found
    }

    /// A section whose first key says which form it has.
    fn tagged(&mut self, key: &KeyPath, value: &Value, forms: &[Json]) -> Option<Value> {
        let tag = forms.iter().find_map(tag)?.0;
        let Value::Table(table) = value else {
            return self.refuse(key, format!("{key} = {}: expected a section", quoted(value)));
        };
        let names: Vec<&str> = forms.iter().filter_map(|form| Some(self::tag(form)?.1)).collect();
        let Some(found) = table.get(tag) else {
            let message =
                format!("`{tag}` is missing in `{key}`\nhint: {tag} is one of {}", names.join(", "));
            return self.refuse(&key.join(tag), message);
        };
        self.name(&key.join(tag), found, &names)?;
        let form =
            forms.iter().find(|form| self::tag(form).is_some_and(|(_, name)| found.as_str() == Some(name)));
        Some(self.section(key, table, form?).into())
    }

    fn list(&mut self, key: &KeyPath, items: &[Value], schema: &Json) -> Option<Value> {
        let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        let count = items.len() as u64;
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let number = if least == most { "" } else { "at least " };
            let least = least.unwrap_or_default();
            let message = format!("{key} has {count} values: expected {number}{least}");
            return self.refuse(key, message);
        }
        let of_item = |index: usize| match &schema["items"] {
            Json::Array(each) => &each[index],
            every => every,
        };
        let checked = items.iter().enumerate().map(|(index, item)| {
            let of_item = of_item(index);
            self.value(&key.join(index), item, of_item).unwrap_or_else(|| stand_in(of_item))
        });
        Some(checked.collect::<Vec<_>>().into())
    }

    fn name(&mut self, key: &KeyPath, value: &Value, names: &[&str]) -> Option<Value> {
        let text = value.as_str();
        if text.is_some_and(|text| names.contains(&text)) {
            return Some(value.clone());
        }
        let near = text.and_then(|text| nearest(text, names.iter().copied()));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let hint = format!("hint: {near}expected one of {}", names.join(", "));
        self.refuse(key, format!("unknown value: {key} = {}\n{hint}", quoted(value)))
    }

    fn in_range(&mut self, key: &KeyPath, number: i64, schema: &Json) -> bool {
        let beyond = |limit: &str, is_beyond: fn(f64, f64) -> bool| {
            schema[limit].as_f64().is_some_and(|limit| is_beyond(number as f64, limit))
        };
        let limit = if beyond("minimum", |number, least| number < least) {
            format!("at least {}", schema["minimum"])
        } else if beyond("maximum", |number, most| number > most) {
            format!("at most {}", schema["maximum"])
        } else {
            return true;
        };
        self.refuse(key, format!("{key} = {number}: must be {limit}"));
        false
    }

    fn refuse(&mut self, key: &KeyPath, message: String) -> Option<Value> {
        self.problems.0.push(Problem { key: key.clone(), message });
        None
    }
}

/// The names that a schema allows, if it allows nothing else.
pub fn names(schema: &Json) -> Option<Vec<&str>> {
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(Json::as_str).collect();
    }
    if let Some(name) = schema["const"].as_str() {
        return Some(vec![name]);
    }
    let forms = schema["oneOf"].as_array()?.iter().map(names).collect::<Option<Vec<_>>>()?;
    Some(forms.concat())
}

/// The key that tells the forms of a section apart, and its value in this form.
pub fn tag(form: &Json) -> Option<(&str, &str)> {
    let keys = form["properties"].as_object()?;
    keys.iter().find_map(|(key, schema)| Some((key.as_str(), schema["const"].as_str()?)))
}

/// A value that the schema allows.
fn stand_in(schema: &Json) -> Value {
    if let Some(name) = names(schema).and_then(|names| names.first().copied()) {
        return name.into();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => schema["minimum"].as_i64().unwrap_or(1).into(),
        Some("boolean") => false.into(),
        Some("array") => Value::Array(Vec::new()),
        Some("string") => "stand-in".into(),
        _ => {
            let form = schema["oneOf"].get(0).unwrap_or(schema);
            let required = form["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
            let keys = required.map(|key| (key.to_owned(), stand_in(&form["properties"][key])));
            Value::Table(keys.collect())
        }
    }
}

fn unknown_key(section: &KeyPath, name: &str, near: Option<&str>, known: &Map<String, Json>) -> String {
    let place = within(section);
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys are {}", Vec::from_iter(known.keys().map(String::as_str)).join(", ")),
    };
    format!("unknown key `{name}`{place}\nhint: {hint}")
}

fn missing(section: &KeyPath, name: &str, schema: &Json) -> String {
    let meaning = schema["description"].as_str().and_then(|text| text.split(". ").next());
    let hint = meaning.map(|text| format!("\nhint: {name}: {}", text.trim_end_matches('.')));
    format!("`{name}` is missing{}{}", within(section), hint.unwrap_or_default())
}

fn within(section: &KeyPath) -> String {
    if section.segments().is_empty() { String::new() } else { format!(" in `{section}`") }
}

/// A value as TOML, cut to a length that fits into a message.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

fn kind_name(kind: Option<&str>) -> &'static str {
    match kind {
        Some("object") => "a section",
        Some("array") => "a list",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "a text",
    }
}
