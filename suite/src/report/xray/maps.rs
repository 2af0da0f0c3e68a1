//! The heat maps of an X-ray as markup.

use maud::{Markup, html};

use crate::report::heat_cell;
use crate::report::xray::heat::{Column, Group, HeatMap, written};
use crate::run_folder::xray::{Reading, Xray, XrayMeasure};

/// All maps, each below its title as a heading of this level.
pub fn maps(xray: &Xray, heading: Heading) -> Markup {
    html! {
        @for map in &HeatMap::all(xray) {
            section {
                @match heading {
                    Heading::H2 => h2 { (map.measure.title()) },
                    Heading::H4 => h4 { (map.measure.title()) },
                }
                p { (meaning(map.measure)) }
                (table(map, &xray.readings))
            }
        }
    }
}

/// Level of a heading.
#[derive(Clone, Copy)]
pub enum Heading {
    /// Of a page about one encoder.
    H2,
    /// Of one row among others.
    H4,
}

fn meaning(measure: XrayMeasure) -> &'static str {
    match measure {
        XrayMeasure::LinearR2 => {
            "R2 of ridge regression in closed form, which reads both views of a pair and predicts the \
             parameters of the transformation between them: 1 is all, 0 what a constant knows. The brackets \
             are 95% intervals over test objects. Rest the pointer on a number for the R2 of each output; \
             they are in the CSV, too."
        }
        XrayMeasure::MlpR2 => {
            "R2 of a multilayer perceptron with two hidden layers, trained on the same pairs as in `probe`: what \
             a ridge regression cannot read is here, too."
        }
        XrayMeasure::Sensitivity => {
            "How far one standard deviation of a transformation's parameters moves the tokens, as a share of \
             the root mean square distance between two images. Photographs: finite differences. Renders: the \
             part of the squared distance between two views that the transformation explains. It measures \
             movement, not what can be read."
        }
        XrayMeasure::Neighbours => {
            "Share of test images whose class is that of most of the 20 nearest training images in cosine \
             similarity."
        }
        XrayMeasure::EffectiveRank => {
            "Exponential of the entropy of the normalised singular values of the test images' tokens: how \
             many directions are in use."
        }
    }
}

fn table(map: &HeatMap, all: &[Reading]) -> Markup {
    let columns: Vec<&Column> = map.groups.iter().flat_map(|group| &group.columns).collect();
    let has_tasks = columns.iter().any(|column| column.task.is_some());
    html! {
        div.heat {
            table {
                thead {
                    tr {
                        td {}
                        @for Group { tokens, columns } in &map.groups {
                            th scope="colgroup" colspan=(columns.len()) { (tokens) }
                        }
                    }
                    @if has_tasks {
                        tr { td {} @for column in &columns { th scope="col" { (column.task.unwrap_or_default()) } } }
                    }
                }
                tbody {
                    @for (row, layer) in map.layers.iter().enumerate() {
                        tr {
                            th scope="row" { (layer) }
                            @for column in &columns { (cell(map, column.readings[row], all)) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(map: &HeatMap, reading: Option<&Reading>, all: &[Reading]) -> Markup {
    let Some(reading) = reading else { return html! { td {} } };
    let Some(value) = reading.value else { return html! { td { "-" } } };
    let number = |value: f64| written(map.measure, value);
    let interval = reading.ci95.map(|(low, high)| format!("[{}, {}]", number(low), number(high)));
    let text = html! {
        span title=[outputs(reading, all)] { (number(value)) }
        @if let Some(interval) = interval { small { (interval) } }
    };
    heat_cell(map.warmth(value), &text)
}

/// The values of each output, if there are several.
fn outputs(reading: &Reading, all: &[Reading]) -> Option<String> {
    let is_part = |other: &&Reading| {
        other.output.is_some()
            && Reading { output: None, value: None, ci95: None, ..(*other).clone() }
                == Reading { value: None, ci95: None, ..reading.clone() }
    };
    let value =
        |part: &Reading| part.value.map_or_else(|| "-".to_owned(), |value| written(part.measure, value));
    let values: Vec<String> = all.iter().filter(is_part).map(value).collect();
    (!values.is_empty()).then(|| format!("each output: {}", values.join(", ")))
}
