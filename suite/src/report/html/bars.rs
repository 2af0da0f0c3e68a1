//! Means with their intervals as bars: one SVG a task, a row a method.

use super::super::column::{Column, MethodSample};
use super::super::plot::COLOURS;
use super::super::table::{Role, number};
use super::escaped;

/// Sizes in the SVG's own units, which are pixels at its natural width.
const WIDTH: f64 = 400.0;
const LABEL: f64 = 154.0;
const VALUE: f64 = 44.0;
const ROW: f64 = 21.0;
/// Letters of a label that fit.
const LETTERS: usize = 24;
const AXIS: f64 = 18.0;

/// The bars of a column under its heading; nothing where it has no value.
pub fn figure(column: &Column) -> Option<String> {
    // the floor has no colour of its own, here as in the curves
    let mut coloured = 0;
    let numbered = column.lines.iter().map(|line| {
        let index = coloured;
        coloured += usize::from(line.role != Role::Floor);
        (index, line)
    });
    let lines: Vec<(usize, &MethodSample)> = numbered.filter(|(_, line)| line.sample.is_some()).collect();
    let scale = Scale::of(column)?;
    let height = ROW * lines.len() as f64 + AXIS + 4.0;
    let rows: String = lines
        .iter()
        .enumerate()
        .map(|(row, (index, line))| bar(line, *index, ROW * row as f64, &scale))
        .collect();
    let levels = [(Role::Floor, ""), (Role::Ceiling, " ceiling-level")];
    let levels: String = levels
        .into_iter()
        .filter_map(|(role, class)| Some((scale.x(column.mean_of(role)?), class)))
        .map(|(x, class)| vertical(x, height - AXIS, &format!("level{class}")))
        .collect();
    let ticks: String =
        scale.ticks().into_iter().map(|tick| axis_tick(tick, scale.x(tick), height)).collect();
    let heading = escaped(&column.heading());
    Some(format!(
        "<figure><figcaption>{heading} <small>mean, 95% interval</small></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{heading} of every method\">{ticks}{levels}{rows}</svg></figure>\n"
    ))
}

/// Values to places.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From 0, or the lowest end of an interval that is worth drawing, to the highest.
    fn of(column: &Column) -> Option<Scale> {
        let ends = column.summaries().flat_map(|summary| {
            let (low, high) = summary.ci95.unwrap_or((summary.mean, summary.mean));
            // an interval of two seeds may be wider than the whole scale
            [low.max(summary.mean - 0.5), high.min(summary.mean + 0.5)]
        });
        let (low, high) = ends.fold((0.0f64, f64::MIN), |(low, high), end| (low.min(end), high.max(end)));
        // a probe that fell far below a constant would press the others into a corner
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

fn bar(line: &MethodSample, index: usize, y: f64, scale: &Scale) -> String {
    let Some(summary) = line.sample.as_ref().and_then(|sample| sample.summary()) else {
        return String::new();
    };
    let middle = y + ROW / 2.0;
    let (zero, end) = (scale.x(0.0), scale.x(summary.mean));
    let fill = match line.role {
        Role::Contestant => colour(index),
        _ => "var(--soft)".to_owned(),
    };
    let opacity = if line.role == Role::Contestant { 0.9 } else { 0.35 };
    let whisker = summary.ci95.map(|(low, high)| {
        let (a, b) = (scale.x(low), scale.x(high));
        format!(
            "<path class=\"whisker\" fill=\"none\" d=\"M{a:.1} {:.1}v6M{a:.1} {middle:.1}H{b:.1}M{b:.1} {:.1}v6\"/>",
            middle - 3.0,
            middle - 3.0
        )
    });
    let label = format!("{}{}", line.method, line.role.suffix());
    // the floor and the ceiling are grey and dashed already
    let name: Vec<char> = line.method.chars().collect();
    let shown: String = if name.len() > LETTERS {
        name[..LETTERS - 1].iter().chain(&['…']).collect()
    } else {
        line.method.clone()
    };
    format!(
        "<g><title>{}: {}</title><text x=\"0\" y=\"{:.1}\"{}>{}</text><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\" \
         fill=\"{fill}\" fill-opacity=\"{opacity}\"/>{}<text x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">{}</text></g>",
        escaped(&label),
        number(summary.mean),
        middle + 4.0,
        if line.role == Role::Contestant { "" } else { " class=\"soft\"" },
        escaped(&shown),
        zero.min(end),
        y + 4.0,
        (end - zero).abs(),
        ROW - 8.0,
        whisker.unwrap_or_default(),
        middle + 4.0,
        number(summary.mean),
    )
}

/// The method's colour in every figure of a report.
fn colour(index: usize) -> String {
    let plotters::style::RGBColor(r, g, b) = COLOURS[index % COLOURS.len()];
    // black would vanish on a dark page
    if (r, g, b) == (0, 0, 0) { "var(--ink)".to_owned() } else { format!("#{r:02x}{g:02x}{b:02x}") }
}

fn vertical(x: f64, height: f64, class: &str) -> String {
    format!("<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.1}\"/>")
}

fn axis_tick(value: f64, x: f64, height: f64) -> String {
    let line = vertical(x, height - AXIS, "axis");
    let text = format!("{}", (value * 1e4).round() / 1e4);
    format!(
        "{line}<text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
        height - 4.0
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{context, probe, value};
    use super::super::super::scores;
    use super::super::super::table::Section;
    use super::super::super::values::Values;
    use super::*;

    fn drawn(values: &[(&str, f64)]) -> Option<String> {
        let methods: Vec<&str> = values.iter().map(|(method, _)| *method).collect();
        let context = context(&["rotation"], &methods);
        let cell =
            |(method, r2): &(&str, f64)| probe(method, 0, &[value("rotation", "r2_per_output", 0, *r2)]);
        let cells: Vec<_> = values.iter().map(cell).collect();
        figure(&scores::columns(&Values::of(&cells), &context, Section::Main)[0])
    }

    /// All below -1, all the same, all zero: every place is a number inside the picture.
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
