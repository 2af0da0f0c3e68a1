//! R2 of every method and transform as a map of colours with the numbers in them.

use super::super::column::Column;
use super::super::table::number;
use super::escaped;

/// From 0 to 1: light to dark blue, so that it also reads in grey.
const COLD: [f64; 3] = [237.0, 244.0, 251.0];
const HOT: [f64; 3] = [8.0, 64.0, 129.0];
/// Below 0: a constant would have done better.
const BELOW: [f64; 3] = [250.0, 219.0, 199.0];

/// The map of these columns, which have the same lines; nothing without a value.
pub fn map(columns: &[&Column]) -> Option<String> {
    if !columns.iter().any(|column| column.has_values()) {
        return None;
    }
    let headings: String =
        columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", escaped(&column.subject))).collect();
    let lines = &columns.first()?.lines;
    let rows: String = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            let mean =
                |column: &&Column| column.lines[i].sample.as_ref()?.summary().map(|summary| summary.mean);
            let cells: String = columns.iter().map(|column| cell(mean(column))).collect();
            format!(
                "<tr><th scope=\"row\">{}{}</th>{cells}</tr>\n",
                escaped(&line.method),
                line.role.suffix()
            )
        })
        .collect();
    Some(format!(
        "<div class=\"heat\"><table><thead><tr><td></td>{headings}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    ))
}

fn cell(value: Option<f64>) -> String {
    let Some(value) = value else { return "<td>-</td>".to_owned() };
    let part = value.clamp(0.0, 1.0);
    let ground =
        if value < 0.0 { BELOW } else { std::array::from_fn(|i| COLD[i] + part * (HOT[i] - COLD[i])) };
    let ink = if luminance(ground) > 0.18 { "#111" } else { "#fff" };
    let [r, g, b] = ground.map(f64::round);
    format!("<td style=\"background:rgb({r} {g} {b});color:{ink}\">{}</td>", number(value))
}

/// Relative luminance of sRGB (WCAG 2.1): at 0.18 black and white have the same contrast, 4.6 to 1.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |value: f64| {
        let value = value / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}
