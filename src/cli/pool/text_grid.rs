//! Tables for people that keep to the width of a window.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::cli::console::visible;

/// A column of a table: its title and its cells.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) cells: Vec<String>,
    /// Numbers stand right.
    pub(crate) number: bool,
    /// Of the columns that do not fit, those of the highest rank are left out first.
    pub(crate) rank: u8,
}

impl Column {
    pub(crate) fn text(title: &'static str, rank: u8, cells: Vec<String>) -> Self {
        // One line each: whatever a name or a statement holds.
        let cells = cells.iter().map(|cell| visible(&cell.replace('\n', " "))).collect();
        Self { title, cells, number: false, rank }
    }

    pub(crate) fn number(title: &'static str, rank: u8, cells: Vec<String>) -> Self {
        Self { number: true, ..Self::text(title, rank, cells) }
    }

    /// How wide it is drawn, with its border and padding.
    pub(crate) fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.title.chars().count()]).max().unwrap_or_default() + 3
    }
}

/// What stands around the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines.
    Boxed,
    /// Nothing: where the window is low.
    Bare,
}

/// The lines of a table of as many of the columns as fit the width, without line breaks at their ends.
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
    table.set_header(columns.iter().map(|column| cell(column, column.title)));
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        table.add_row(columns.iter().map(|column| cell(column, &column.cells[row])));
    }
    let all = table.to_string();
    let cut = |line: &str| line.chars().take(width.unwrap_or(usize::MAX)).collect();
    all.lines().map(cut).collect()
}

fn cell(column: &Column, text: &str) -> Cell {
    let alignment = if column.number { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(text).set_alignment(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::text("pool", 0, vec!["main".to_owned(), "reports\n\u{1b}[2J".to_owned()]),
            Column::number("idle", 2, vec!["1".to_owned(), "20".to_owned()]),
            Column::number("in use", 1, vec!["3".to_owned(), "4".to_owned()]),
        ]
    }

    #[test]
    fn numbers_stand_right_and_nothing_drives_the_terminal() {
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
    fn a_narrow_window_loses_the_columns_that_matter_least() {
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
