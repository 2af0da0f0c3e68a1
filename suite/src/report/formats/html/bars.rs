//! Means with their intervals as bars: one SVG per task, one row per method.

use maud::{Markup, html};

use crate::report::column::{Column, MethodSample};
use crate::report::figures::method_style::style_index;
use crate::report::figures::plot::COLOURS;
use crate::report::numbers::number;
use crate::report::table::Role;

/// Sizes in the SVG's units, which are pixels at its natural width.
const WIDTH: f64 = 400.0;
const LABEL: f64 = 154.0;
const VALUE: f64 = 44.0;
const ROW: f64 = 21.0;
/// Number of letters of a label that fit.
const LETTERS: usize = 24;
const AXIS: f64 = 18.0;

/// The bars of a column under its heading; `None` if it has no value.
pub fn figure(column: &Column) -> Option<Markup> {
    let measured: Vec<&MethodSample> =
        column.samples.iter().filter(|method| method.sample.is_some()).collect();
    let scale = Scale::new(column)?;
    let height = ROW * measured.len() as f64 + AXIS + 4.0;
    let levels = [(Role::Floor, "level"), (Role::Ceiling, "level ceiling-level")];
    let levels = levels.into_iter().filter_map(|(role, class)| Some((scale.x(column.level(role)?), class)));
    let heading = column.heading();
    Some(html! {
        figure {
            figcaption { (heading) " " small { "mean, 95% interval" } }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(format!("{heading} of every method")) {
                @for tick in scale.ticks() { (axis_tick(tick, scale.x(tick), height)) }
                @for (x, class) in levels { (vertical(x, height - AXIS, class)) }
                @for (row, method) in measured.iter().enumerate() {
                    (bar(method, ROW * row as f64, &scale))
                }
            }
        }
    })
}

/// Maps values to positions.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From 0, or the lower end of the lowest interval that is drawn, to the highest upper end.
    fn new(column: &Column) -> Option<Scale> {
        let ends = column.summaries().flat_map(|summary| {
            let (low, high) = summary.ci95.unwrap_or((summary.mean, summary.mean));
            // an interval over two seeds may be wider than the whole scale
            [low.max(summary.mean - 0.5), high.min(summary.mean + 0.5)]
        });
        let (low, high) = ends.fold((0.0f64, f64::MIN), |(low, high), end| (low.min(end), high.max(end)));
        // a probe far below the constant predictor would squeeze the other bars
        let (low, any) = (low.max(-1.0), high > f64::MIN);
        any.then(|| Scale { low, high: high.max(0.0).max(low + 1e-3) })
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        LABEL + part * (WIDTH - LABEL - VALUE)
    }

    /// Four or five round numbers.
    fn ticks(&self) -> Vec<f64> {
        let span = self.high - self.low;
        let magnitude = 10f64.powf((span / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0].map(|times| times * magnitude).into_iter().find(|step| span / step <= 5.0);
        let step = step.unwrap_or(10.0 * magnitude);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|tick| *tick <= self.high).collect()
    }
}

/// A bar whose row begins at `y`; empty without a value.
fn bar(method: &MethodSample, y: f64, scale: &Scale) -> Markup {
    let Some(summary) = method.sample.as_ref().and_then(|sample| sample.summary()) else { return html! {} };
    let (middle, contends) = (y + ROW / 2.0, method.role == Role::Contestant);
    let (zero, end) = (scale.x(0.0), scale.x(summary.mean));
    let (fill, opacity) =
        if contends { (colour(&method.method), 0.9) } else { ("var(--soft)".to_owned(), 0.35) };
    let whisker = summary.ci95.map(|(low, high)| {
        let (a, b, top) = (scale.x(low), scale.x(high), middle - 3.0);
        format!("M{a:.1} {top:.1}v6M{a:.1} {middle:.1}H{b:.1}M{b:.1} {top:.1}v6")
    });
    let name: Vec<char> = method.method.chars().collect();
    let shown: String = if name.len() > LETTERS {
        name[..LETTERS - 1].iter().chain(&['…']).collect()
    } else {
        method.method.clone()
    };
    let mean = number(summary.mean);
    html! {
        g {
            title { (method.method) (method.role.suffix()) ": " (mean) }
            // the floor and the ceiling are already grey and dashed
            text x="0" y=(rounded(middle + 4.0)) class=[(!contends).then_some("soft")] { (shown) }
            rect x=(rounded(zero.min(end))) y=(rounded(y + 4.0)) width=(rounded((end - zero).abs()))
                height=(rounded(ROW - 8.0)) rx="1.5" fill=(fill) fill-opacity=(opacity) {}
            @if let Some(path) = whisker { path class="whisker" fill="none" d=(path) {} }
            text x=(WIDTH) y=(rounded(middle + 4.0)) text-anchor="end" { (mean) }
        }
    }
}

/// A length to a tenth of a pixel.
fn rounded(length: f64) -> String {
    format!("{length:.1}")
}

/// The method's colour, the same in every figure of every report.
fn colour(method: &str) -> String {
    let plotters::style::RGBColor(r, g, b) = COLOURS[style_index(method) % COLOURS.len()];
    // black would be invisible on a dark page
    if (r, g, b) == (0, 0, 0) { "var(--ink)".to_owned() } else { format!("#{r:02x}{g:02x}{b:02x}") }
}

fn vertical(x: f64, height: f64, class: &str) -> Markup {
    html! { line class=(class) x1=(rounded(x)) x2=(rounded(x)) y1="0" y2=(rounded(height)) {} }
}

fn axis_tick(value: f64, x: f64, height: f64) -> Markup {
    html! {
        (vertical(x, height - AXIS, "axis"))
        text class="soft" x=(rounded(x)) y=(rounded(height - 4.0)) text-anchor="middle" { ((value * 1e4).round() / 1e4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::sections::scores::headline_columns;
    use crate::report::values::Values;

    fn drawn(values: &[(&str, f64)]) -> Option<String> {
        let methods: Vec<&str> = values.iter().map(|(method, _)| *method).collect();
        let context = context(&["rotation"], &methods);
        let cell =
            |(method, r2): &(&str, f64)| probe(method, 0, &[value("rotation", "r2_per_output", 0, *r2)]);
        let cells: Vec<_> = values.iter().map(cell).collect();
        figure(&headline_columns(&Values::at_end(&cells), &context)[0]).map(Markup::into_string)
    }

    /// Values all below -1, all equal or all zero: every position is a number inside the picture.
    #[test]
    fn any_values_can_be_drawn() {
        for values in [[-5.0, -1.3], [0.5, 0.5], [0.0, 0.0], [-0.2, 0.9], [1e-9, 1e9]] {
            let svg = drawn(&[("Random init", values[0]), ("Ours", values[1])]).unwrap();
            let places = svg
                .split(" x=\"")
                .chain(svg.split(" width=\""))
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            for place in places.filter_map(|place| place.parse::<f64>().ok()) {
                assert!((0.0..=WIDTH).contains(&place), "{values:?}: {place} in {svg}");
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn without_values_there_is_nothing_to_draw() {
        assert!(drawn(&[("Ours", f64::NAN)]).is_none());
    }
}
