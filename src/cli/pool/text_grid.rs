//! Tables for people that fit the width of a terminal.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::cli::console::visible;

#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: &'static str,
    pub(crate) cells: Vec<String>,
    alignment: CellAlignment,
    /// The columns with the highest rank are left out first if they do not fit.
    rank: u8,
}

impl Column {
    pub(crate) fn text(
        title: &'static str,
        rank: u8,
        cells: impl Iterator<Item = impl ToString>,
    ) -> Self {
        let cells = cells.map(|cell| visible(&cell.to_string().replace('\n', " "))).collect();
        Self { title, cells, alignment: CellAlignment::Left, rank }
    }

    /// Makes a column whose cells are right-aligned.
    pub(crate) fn number(
        title: &'static str,
        rank: u8,
        cells: impl Iterator<Item = impl ToString>,
    ) -> Self {
        Self { alignment: CellAlignment::Right, ..Self::text(title, rank, cells) }
    }

    /// Returns the width with a border and padding.
    pub(crate) fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.title.chars().count()]).max().unwrap_or_default() + 3
    }

    fn cell(&self, text: &str) -> Cell {
        Cell::new(text).set_alignment(self.alignment)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Boxed,
    /// No borders, for a low terminal.
    Bare,
}

/// Returns the lines of a table of those columns that fit the width.
pub(crate) fn lines(mut columns: Vec<Column>, width: Option<usize>, style: Style) -> Vec<String> {
    if let Some(width) = width {
        while columns.iter().map(Column::width).sum::<usize>() + 1 > width && columns.len() > 1 {
            let last = (0..columns.len()).max_by_key(|index| columns[*index].rank);
            columns.remove(last.unwrap_or_default());
        }
    }
    let mut table = Table::new();
    table.load_preset(match style {
        Style::Boxed => presets::UTF8_FULL_CONDENSED,
        Style::Bare => presets::NOTHING,
    });
    table.set_header(columns.iter().map(|column| column.cell(column.title)));
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        table.add_row(columns.iter().map(|column| column.cell(&column.cells[row])));
    }
    let all = table.to_string();
    let cut = |line: &str| line.chars().take(width.unwrap_or(usize::MAX)).collect();
    all.lines().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::text("pool", 0, ["main", "reports\n\u{1b}[2J"].iter()),
            Column::number("idle", 2, [1, 20].iter()),
            Column::number("in use", 1, [3, 4].iter()),
        ]
    }

    #[test]
    fn numbers_are_right_aligned_and_nothing_controls_the_terminal() {
        let expected = "\
┌───────────────────┬──────┬────────┐
│ pool              ┆ idle ┆ in use │
╞═══════════════════╪══════╪════════╡
│ main              ┆    1 ┆      3 │
│ reports \\u{1b}[2J ┆   20 ┆      4 │
└───────────────────┴──────┴────────┘";
        assert_eq!(lines(columns(), None, Style::Boxed).join("\n"), expected);
    }

    #[test]
    fn a_narrow_terminal_loses_the_least_important_columns() {
        for (width, titles) in [
            (37, vec!["pool", "idle", "in use"]),
            (36, vec!["pool", "in use"]),
            (29, vec!["pool"]),
            (10, vec!["pool"]),
            (1, vec![]),
        ] {
            let lines = lines(columns(), Some(width), Style::Boxed);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            for title in ["pool", "idle", "in use"] {
                assert_eq!(lines[1].contains(title), titles.contains(&title), "{width}: {title}");
            }
        }
    }
}
