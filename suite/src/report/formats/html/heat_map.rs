//! R2 of every method and transform as a heat map with the numbers in its cells.

use maud::{Markup, html};

use crate::report::column::Column;
use crate::report::numbers::number;

/// Colour of 0. The colours from 0 to 1 go from light to dark blue, so that the map is also readable in grey.
const COLD: [f64; 3] = [237.0, 244.0, 251.0];
const HOT: [f64; 3] = [8.0, 64.0, 129.0];
/// Colour of values below 0, where a constant would have done better.
const BELOW: [f64; 3] = [250.0, 219.0, 199.0];

/// The heat map of these columns, which have the same methods; `None` without a value.
pub fn map(columns: &[&Column]) -> Option<Markup> {
    let methods = &columns.iter().find(|column| column.has_values())?.samples;
    let mean = |column: &Column, row: usize| Some(column.samples[row].sample.as_ref()?.summary()?.mean);
    Some(html! {
        div.heat {
            table {
                thead { tr { td {} @for column in columns { th scope="col" { (column.subject) } } } }
                tbody {
                    @for (row, method) in methods.iter().enumerate() {
                        tr {
                            th scope="row" { (method.method) (method.role.suffix()) }
                            @for column in columns { (cell(mean(column, row))) }
                        }
                    }
                }
            }
        }
    })
}

fn cell(value: Option<f64>) -> Markup {
    let Some(value) = value else { return html! { td { "-" } } };
    heat_cell(value, &html! { (number(value)) })
}

/// A cell on the ground of `warmth`, which is cold at 0, hot at 1 and has its own colour below 0.
pub fn heat_cell(warmth: f64, text: &Markup) -> Markup {
    let share = warmth.clamp(0.0, 1.0);
    let ground =
        if warmth < 0.0 { BELOW } else { std::array::from_fn(|i| COLD[i] + share * (HOT[i] - COLD[i])) };
    let ink = if luminance(ground) > 0.18 { "#111" } else { "#fff" };
    let [r, g, b] = ground.map(f64::round);
    html! { td style=(format!("background:rgb({r} {g} {b});color:{ink}")) { (text) } }
}

/// Relative luminance of sRGB (WCAG 2.1): at 0.18 black and white have the same contrast, 4.6 to 1.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |value: f64| {
        let value = value / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read_on_their_ground() {
        assert_eq!(cell(None).into_string(), "<td>-</td>");
        let [low, high, below] = [0.0, 1.0, -0.5].map(|value| cell(Some(value)).into_string());
        assert!(
            low.contains("rgb(237 244 251);color:#111") && high.contains("rgb(8 64 129);color:#fff"),
            "{low} {high}"
        );
        assert!(below.contains("rgb(250 219 199)") && below.contains(">-0.500<"), "{below}");
    }
}
