//! How the columns of a table fit into a window: how wide each is, and which of them stand side by side.

use std::ops::Range;

/// Letters of a label that stand in one line at least, if it has that many.
const LABEL: usize = 16;

/// Least letters per line of a column of texts that the window is too narrow for.
const TEXT: usize = 8;

/// Spaces around the texts of a column.
pub const PADDING: usize = 2;

/// Spaces between two columns, in addition.
const BETWEEN: usize = 1;

/// What a table needs, in letters.
pub struct Needs {
    /// The longest label.
    pub label: usize,
    /// Its other columns.
    pub columns: Vec<ColumnNeeds>,
}

/// What a column needs, in letters.
pub struct ColumnNeeds {
    /// The heading in one line.
    pub heading: usize,
    /// The longest word of the heading, or the longest entry.
    pub least: usize,
}

/// Columns side by side, after the column of labels.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// Which columns.
    pub columns: Range<usize>,
    /// Letters per line of each of them.
    pub widths: Vec<usize>,
    /// Letters per line of the labels.
    pub label: usize,
}

impl Needs {
    /// All columns side by side; `None` if the window is too narrow.
    pub fn side_by_side(&self, window: usize) -> Option<Block> {
        self.block(0..self.columns.len(), window)
    }

    /// The columns in as few blocks as the window takes.
    pub fn blocks(&self, window: usize) -> Vec<Block> {
        let (mut blocks, mut start) = (Vec::new(), 0);
        while start < self.columns.len() {
            let ends = (start + 1..=self.columns.len()).rev();
            let found = ends.filter_map(|end| self.block(start..end, window)).next();
            let block = found.unwrap_or_else(|| self.squeezed(start, window));
            start = block.columns.end;
            blocks.push(block);
        }
        blocks
    }

    fn block(&self, columns: Range<usize>, window: usize) -> Option<Block> {
        let needs = &self.columns[columns.clone()];
        let least: usize = needs.iter().map(|column| column.least).sum();
        let mut left = window.checked_sub(least + PADDING + (PADDING + BETWEEN) * needs.len())?;
        let label = self.label.min(left);
        if label < self.label.min(LABEL) {
            return None;
        }
        left -= label;
        // what labels leave goes to the headings
        let widened = |column: &ColumnNeeds| {
            let more = column.heading.saturating_sub(column.least).min(left);
            left -= more;
            column.least + more
        };
        Some(Block { widths: needs.iter().map(widened).collect(), columns, label })
    }

    /// A column that has no room beside the labels: its texts are wrapped.
    fn squeezed(&self, column: usize, window: usize) -> Block {
        let label = self.label.min(LABEL);
        let width = window.saturating_sub(label + 2 * PADDING + BETWEEN).max(TEXT);
        Block { columns: column..column + 1, widths: vec![width], label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(label: usize, columns: &[(usize, usize)]) -> Needs {
        let column = |&(heading, least): &(usize, usize)| ColumnNeeds { heading, least };
        Needs { label, columns: columns.iter().map(column).collect() }
    }

    #[test]
    fn labels_give_way_before_values_do() {
        let needs = needs(30, &[(20, 10), (8, 10)]);
        // 30 + 20 + 10, three paddings and two spaces between the columns
        let wide = Block { columns: 0..2, widths: vec![20, 10], label: 30 };
        assert_eq!(needs.side_by_side(68), Some(wide));
        let narrow = Block { columns: 0..2, widths: vec![10, 10], label: 20 };
        assert_eq!(needs.side_by_side(48), Some(narrow));
        assert_eq!(needs.side_by_side(43), None);
    }

    #[test]
    fn every_column_stands_in_one_block_that_fits() {
        let needs = needs(30, &[(20, 10), (8, 10), (4, 50), (5, 5)]);
        for window in [10, 40, 50, 80, 200] {
            let blocks = needs.blocks(window);
            let columns: Vec<usize> = blocks.iter().flat_map(|block| block.columns.clone()).collect();
            assert_eq!(columns, [0, 1, 2, 3], "{window}");
            for Block { widths, label, .. } in blocks {
                let width = label + widths.iter().sum::<usize>() + PADDING + 3 * widths.len();
                assert!(width <= window.max(LABEL + TEXT + 2 * PADDING + BETWEEN), "{window}: {width}");
            }
        }
        assert_eq!(needs.blocks(50).len(), 3);
    }
}
