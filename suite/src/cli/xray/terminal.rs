//! The heat maps of an X-ray for a terminal: numbers on colours where there are colours, within 80 columns.

use ::console::Style;

use crate::cli::xray::picture::Picture;
use crate::console::{Look, one_line};
use crate::report::xray::heat::{Column, Group, HeatMap, in_order, written};
use crate::run_folder::xray::{Reading, Xray, XrayMeasure};

/// Letters per line.
const WIDTH: usize = 80;

/// Letters of the first column: the longest name of a layer.
const NAME: usize = 9;

/// Letters of a column that is not of a transformation: the longest kind of tokens.
const KIND: usize = 8;

/// Letters of a number.
const NUMBER: usize = 5;

/// Blues of the 256 colours of terminals, from cold to hot, with the colours of their letters.
const BLUES: [(u8, u8); 6] = [(255, 16), (189, 16), (153, 16), (75, 16), (26, 255), (18, 255)];

/// Ground and letters of values below 0, where a constant would have done better.
const BELOW: (u8, u8) = (223, 16);

/// All maps, and the best place of each transformation.
pub fn text(picture: &Picture, look: Look) -> String {
    let maps = HeatMap::all(&picture.xray);
    let maps: String = maps.iter().map(|map| whole(map, look)).collect();
    let head = format!("X-ray of {}\n{}\n", picture.encoder, picture.line());
    let head = head.lines().map(|line| format!("{}\n", one_line(line))).collect::<String>();
    let held: String = [(XrayMeasure::LinearR2, "ridge regression"), (XrayMeasure::MlpR2, "MLP probe")]
        .map(|(measure, probe)| held(&picture.xray, measure, probe))
        .concat();
    look.letters(&format!("{head}{maps}{held}")).into_owned()
}

/// A map, in as many blocks as the width asks for.
fn whole(map: &HeatMap, look: Look) -> String {
    let mut text = format!("\n{}\n", map.measure.title());
    let mut rest = &map.groups[..];
    while !rest.is_empty() {
        let mut width = NAME;
        let fitting = rest.iter().take_while(|group| {
            width += group_width(group);
            width <= WIDTH
        });
        let (block, next) = rest.split_at(fitting.count().max(1));
        text.push_str(&block_of(map, block, look));
        rest = next;
    }
    text
}

fn group_width(group: &Group) -> usize {
    2 + group.columns.iter().map(|column| width(column.task)).sum::<usize>()
}

/// Letters of a column, with the space before it.
fn width(task: Option<&str>) -> usize {
    1 + task.map_or(KIND, str::len).max(NUMBER)
}

fn block_of(map: &HeatMap, groups: &[Group], look: Look) -> String {
    let line = |name: &str, cells: &dyn Fn(&Group) -> String| {
        let cells = groups.iter().map(|group| format!("  {}", cells(group))).collect::<String>();
        format!("{}\n", format!("{name:NAME$}{cells}").trim_end())
    };
    let tokens = |group: &Group| format!("{:>1$}", group.tokens, group_width(group) - 2);
    let tasks = |group: &Group| {
        group
            .columns
            .iter()
            .map(|column| format!("{:>1$}", column.task.unwrap_or(""), width(column.task)))
            .collect()
    };
    let mut text = line("", &tokens);
    if groups[0].columns[0].task.is_some() {
        text.push_str(&line("", &tasks));
    }
    for (row, layer) in map.layers.iter().enumerate() {
        if groups.iter().flat_map(|group| &group.columns).any(|column| column.readings[row].is_some()) {
            let cells = |group: &Group| {
                let cell = |column: &Column| {
                    let value = column.readings[row].map(|reading| reading.value);
                    cell(map, value, width(column.task), look)
                };
                group.columns.iter().map(cell).collect()
            };
            text.push_str(&line(layer, &cells));
        }
    }
    text
}

/// A number at the right of its ground; a dash where it is undefined, nothing where there are no such tokens.
fn cell(map: &HeatMap, value: Option<Option<f64>>, width: usize, look: Look) -> String {
    let Some(value) = value else { return " ".repeat(width) };
    let Some(value) = value else { return format!("{:>width$}", "-") };
    let text = format!("{:>1$}", written(map.measure, value), width - 1);
    if !look.colours {
        return format!(" {text}");
    }
    let warmth = map.warmth(value);
    let step = (warmth.clamp(0.0, 1.0) * (BLUES.len() - 1) as f64).round() as usize;
    let (ground, ink) = if warmth < 0.0 { BELOW } else { BLUES[step] };
    format!(" {}", Style::new().color256(ink).on_color256(ground).force_styling(true).apply_to(text))
}

/// Where `probe` reads most of each transformation, with intervals, and what the output has of it; nothing
/// without readings of `measure`.
fn held(xray: &Xray, measure: XrayMeasure, probe: &str) -> String {
    let of_all = |reading: &&Reading| reading.measure == measure && reading.output.is_none();
    let all: Vec<&Reading> = xray.readings.iter().filter(of_all).collect();
    let tasks = in_order(all.iter().filter_map(|reading| reading.task.as_deref()));
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("\nBest place of each transformation, {probe}: R2 [95% over test objects]\n");
    for task in tasks {
        let own = || all.iter().copied().filter(|reading| reading.task.as_deref() == Some(task));
        let value = |reading: &&Reading| reading.value.unwrap_or(f64::NEG_INFINITY);
        let best = own().max_by(|a, b| value(a).total_cmp(&value(b)));
        let output = own().next_back();
        let texts = [best, output].map(|reading| reading.map_or_else(|| "-".to_owned(), said));
        text.push_str(&format!("{task:>11}  {}; {}\n", texts[0], texts[1]));
    }
    text
}

fn said(reading: &Reading) -> String {
    let number = |value: f64| written(reading.measure, value);
    let value = reading.value.map_or_else(|| "-".to_owned(), number);
    let interval = reading.ci95.map(|(low, high)| format!(" [{}, {}]", number(low), number(high)));
    format!("{}, {}: {value}{}", reading.layer, reading.tokens, interval.unwrap_or_default())
}
