//! Tables for a terminal. In a window they are as wide as the window at most; files and pipes get everything.

mod fit;

use ::console::{measure_text_width, style};
use anyhow::Result;
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table as Grid,
    TableComponent as Lines, Width, presets,
};

use self::fit::{Block, ColumnNeeds, Needs, PADDING};
use super::format::{DataSetReport, Document, Format};
use crate::console::{Look, one_line};
use crate::report::legend::Legend;
use crate::report::numbers::{Numbers, Spread};
use crate::report::table::{Layout, Mark, Note, Role, Row, Table, TableEntry};

/// Letters per line that are easy to read, and that files and pipes get.
const WIDTH: usize = 100;

const LEGEND: Legend = Legend { best: "*", runner_up: None, significant: "**" };

/// Tables drawn with box characters, for a terminal.
pub struct Terminal;

impl Format for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn render(&self, document: &Document) -> Result<String> {
        let printer = Printer { look: document.look, numbers: document.numbers };
        Ok(document.joined(|found| printer.data_set(found)))
    }
}

/// Sets tables for one place.
struct Printer {
    look: Look,
    numbers: Numbers,
}

/// Cells of a row.
struct Line {
    texts: Vec<String>,
    role: Role,
    marks: Vec<Mark>,
}

impl Printer {
    /// The tables under the report's title and notes.
    fn data_set(&self, DataSetReport { context, tables, .. }: &DataSetReport) -> String {
        let notes = context.notes.iter().map(|note| self.wrapped("  ", note)).collect::<String>();
        let tables = tables.iter().map(|table| self.table(table)).collect::<Vec<_>>().join("\n");
        format!("{}{notes}\n{tables}", self.title(&context.title))
    }

    /// The table with its title above and its notes below.
    fn table(&self, table: &Table) -> String {
        let mut text = self.title(&table.title);
        text.push_str(&match (table.layout, self.look.width) {
            // a grid would be as wide as its longest sentence
            (Layout::Sentences, _) => self.sentences(table),
            (_, Some(window)) => self.fitted(table, window),
            (_, None) => self.whole(table),
        });
        if table.has_marks() {
            text.push_str(&self.wrapped("  ", &LEGEND.sentence(table.contest())));
        }
        for note in &table.notes {
            text.push_str(&match note {
                Note::Plain(note) => self.wrapped("  ", note),
                Note::Warning(note) => self.warning(note),
            });
        }
        text
    }

    fn title(&self, title: &str) -> String {
        let title = match self.look.width {
            Some(_) => self.wrapped("", title).trim_end().to_owned(),
            None => self.look.letters(&one_line(title)).into_owned(),
        };
        if self.look.colours {
            format!("{}\n", style(title).bold().force_styling(true))
        } else {
            title + "\n"
        }
    }

    fn warning(&self, note: &str) -> String {
        const WORD: &str = "WARNING:";
        let text = self.wrapped("  ", &format!("{WORD} {note}"));
        if !self.look.colours {
            return text;
        }
        text.replacen(WORD, &style(WORD).yellow().bold().force_styling(true).to_string(), 1)
    }

    /// Rows that hold one text each, as indented paragraphs.
    fn sentences(&self, table: &Table) -> String {
        let words = |row: &Row| {
            row.entries.iter().flat_map(|entry| entry.words(self.numbers)).collect::<Vec<_>>().join(" ")
        };
        table.rows.iter().map(|row| self.wrapped("  ", &format!("{}: {}", row.label, words(row)))).collect()
    }

    /// Everything: one line per row if that fits; otherwise intervals are printed below their values.
    fn whole(&self, table: &Table) -> String {
        let drawn = |separator| {
            let lines = self.lines(table, self.numbers, separator);
            self.drawn(&self.headings(table), &lines, None)
        };
        let text = drawn(" ");
        let width = text.lines().map(measure_text_width).max().unwrap_or(0);
        if width > WIDTH { drawn("\n") } else { text }
    }

    /// As much as a window of this width takes: first the intervals give way, then the standard deviations.
    /// If that is not enough, some columns stand below the others.
    fn fitted(&self, table: &Table, window: usize) -> String {
        let headings = self.headings(table);
        let candidates = spreads(self.numbers.spread).map(|spread| {
            let lines = self.lines(table, Numbers { spread: Some(spread), ..self.numbers }, " ");
            (needs(&headings, &lines), lines)
        });
        let candidates: Vec<(Needs, Vec<Line>)> = candidates.collect();
        let fitting = candidates.iter().enumerate().find_map(|(place, (needs, lines))| {
            needs.side_by_side(window).map(|block| (place, vec![block], lines))
        });
        let last = candidates.len() - 1;
        let (place, blocks, lines) = fitting.unwrap_or_else(|| {
            let (needs, lines) = &candidates[last];
            (last, needs.blocks(window), lines)
        });
        let mut text: String = blocks.iter().map(|block| self.drawn(&headings, lines, Some(block))).collect();
        if place > 0 && has_spread(table) {
            let lost = if place == 1 { "intervals" } else { "standard deviations and intervals" };
            text.push_str(
                &self.wrapped("  ", &format!("A wider window, a file or a pipe gets the {lost} too.")),
            );
        }
        text
    }

    fn headings(&self, table: &Table) -> Vec<String> {
        let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str));
        headings.map(|heading| self.text(heading)).collect()
    }

    fn lines(&self, table: &Table, numbers: Numbers, separator: &str) -> Vec<Line> {
        let line = |row: &Row| {
            let label = self.text(&format!("{}{}", row.label, row.role.suffix()));
            let entries = row.entries.iter().map(|found| self.entry(found, numbers, separator));
            Line {
                texts: std::iter::once(label).chain(entries).collect(),
                role: row.role,
                marks: row.entries.iter().map(TableEntry::mark).collect(),
            }
        };
        table.rows.iter().map(line).collect()
    }

    fn entry(&self, entry: &TableEntry, numbers: Numbers, separator: &str) -> String {
        let stars = match entry.mark() {
            Mark::None | Mark::Second => "",
            Mark::Best => "* ",
            Mark::Significant => "** ",
        };
        let words = entry.words(numbers);
        match entry {
            TableEntry::Text(text) => self.text(text),
            TableEntry::Estimate { .. } => {
                self.look.letters(&format!("{stars}{}", words.join(separator))).into_owned()
            }
            _ => self.look.letters(&words.join(" ")).into_owned(),
        }
    }

    /// The columns of a block, or all of them as wide as they are.
    fn drawn(&self, headings: &[String], lines: &[Line], block: Option<&Block>) -> String {
        let mut grid = Grid::new();
        // whether there is a terminal is known already
        grid.force_no_tty().load_preset(presets::UTF8_HORIZONTAL_ONLY);
        if self.look.colours {
            grid.enforce_styling();
        }
        for line in [
            Lines::HorizontalLines,
            Lines::MiddleIntersections,
            Lines::LeftBorderIntersections,
            Lines::RightBorderIntersections,
        ] {
            grid.remove_style(line);
        }
        let columns = block.map_or(0..headings.len() - 1, |block| block.columns.clone());
        let all = || std::iter::once(0).chain(columns.clone().map(|column| column + 1));
        grid.set_header(all().map(|place| Cell::new(&headings[place])));
        grid.add_rows(lines.iter().map(|line| all().map(|place| self.cell(line, place)).collect::<Vec<_>>()));
        for column in grid.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        match block {
            None => {
                grid.set_content_arrangement(ContentArrangement::Disabled);
            }
            Some(Block { widths, label, .. }) => {
                let widths = || std::iter::once(label).chain(widths).map(|width| width + PADDING);
                let total = u16::try_from(widths().sum::<usize>()).unwrap_or(u16::MAX);
                grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(total);
                for (column, width) in grid.column_iter_mut().zip(widths()) {
                    let width = u16::try_from(width).unwrap_or(u16::MAX);
                    column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
                }
            }
        }
        self.look.letters(&grid.trim_fmt()).into_owned() + "\n"
    }

    fn cell(&self, line: &Line, place: usize) -> Cell {
        let cell = Cell::new(&line.texts[place]);
        let mark = place.checked_sub(1).map_or(Mark::None, |entry| line.marks[entry]);
        match (mark, line.role) {
            (Mark::Best | Mark::Significant, _) => cell.fg(Color::Green).add_attribute(Attribute::Bold),
            (_, Role::Floor) => cell.fg(Color::DarkYellow),
            (_, Role::Ceiling) => cell.fg(Color::DarkCyan),
            _ => cell,
        }
    }

    /// A text in lines that are no longer than a line of a file: a long name would make every row as long.
    fn text(&self, text: &str) -> String {
        let text = one_line(text);
        let letters: Vec<char> = self.look.letters(&text).chars().collect();
        let width = self.look.width.map_or(WIDTH, |_| letters.len().max(1));
        letters.chunks(width).map(String::from_iter).collect::<Vec<String>>().join("\n")
    }

    /// A paragraph after this indent, in lines that are easy to read and fit the window. All but the first
    /// are indented further.
    fn wrapped(&self, indent: &str, paragraph: &str) -> String {
        let width = self.look.width.map_or(WIDTH, |window| window.min(WIDTH));
        let paragraph = one_line(paragraph);
        let paragraph = self.look.letters(&paragraph);
        let mut lines = vec![String::new()];
        for word in paragraph.split_whitespace() {
            let line = lines.last().expect("there is a line");
            let is_full = !line.is_empty() && measure_text_width(line) + 1 + measure_text_width(word) > width;
            if is_full {
                lines.push(format!("{indent}  {word}"));
            } else if line.is_empty() {
                lines = vec![format!("{indent}{word}")];
            } else if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.push_str(word);
            }
        }
        lines.join("\n") + "\n"
    }
}

/// The spread that is asked for, and what is left of it in narrower and narrower windows.
fn spreads(asked: Option<Spread>) -> impl Iterator<Item = Spread> {
    let asked = asked.unwrap_or(Spread::Both);
    let less = match asked {
        Spread::Both => &[Spread::Std, Spread::None][..],
        Spread::Std | Spread::Interval => &[Spread::None],
        Spread::None => &[],
    };
    std::iter::once(asked).chain(less.iter().copied())
}

fn needs(headings: &[String], lines: &[Line]) -> Needs {
    let widest =
        |column: usize| lines.iter().map(|line| measure_text_width(&line.texts[column])).max().unwrap_or(0);
    let column = |(place, heading): (usize, &String)| {
        let word = heading.split_whitespace().map(measure_text_width).max().unwrap_or(0);
        ColumnNeeds { heading: measure_text_width(heading), least: word.max(widest(place)) }
    };
    Needs {
        label: widest(0).max(measure_text_width(&headings[0])),
        columns: headings.iter().enumerate().skip(1).map(column).collect(),
    }
}

fn has_spread(table: &Table) -> bool {
    let has = |entry: &TableEntry| {
        matches!(entry, TableEntry::Estimate { .. } | TableEntry::Difference(_) | TableEntry::Reported { .. })
    };
    table.rows.iter().flat_map(|row| &row.entries).any(has)
}
