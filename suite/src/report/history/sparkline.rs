//! A line of values as one row of blocks.

use crate::report::history::{History, Line};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A block for every run, a space where the line has no value, and a bar before a run that begins a new
/// series. The lowest value has the lowest block.
pub(super) fn sparkline(history: &History, line: &Line) -> String {
    let (low, high) = range(line);
    let block = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        BLOCKS[(share * (BLOCKS.len() - 1) as f64).round() as usize]
    };
    let mut points = line.points.iter().peekable();
    let mut text = String::new();
    for (place, run) in history.runs.iter().enumerate() {
        if run.new_definition || run.new_hardware {
            text.push('|');
        }
        let point = points.next_if(|point| point.run == place);
        text.push(point.map_or(' ', |point| block(point.value)));
    }
    text
}

/// The smallest and the largest value.
pub(super) fn range(line: &Line) -> (f64, f64) {
    let values = line.points.iter().map(|point| point.value);
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}
