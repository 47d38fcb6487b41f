//! Tables for a terminal: words left, numbers right, one hairline under the head, no boxes.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle,
    Width,
};

/// Without a terminal nothing is wrapped: a program or a file takes lines of any length.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Between two columns, beside the one that the separator takes.
const GAP: u16 = 1;
/// No word keeps a column wider than this: a longer one is broken.
const LONGEST_WORD: usize = 24;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Words,
    Numbers,
}

/// A table with its head. `columns` are names and alignments.
pub(crate) fn table(columns: &[(&str, Align)]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        columns
            .iter()
            .map(|(name, align)| Cell::new(name).add_attribute(Attribute::Bold).set_alignment(alignment(*align))),
    );
    for (column, (_, align)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, GAP));
        column.set_cell_alignment(alignment(*align));
    }
    table
}

/// Sets the table into a terminal: columns break between words and not within them.
pub(crate) fn fit(table: &mut Table) {
    let Some(width) = table.width() else { return };
    table.set_width(width);
    let natural: usize = table.column_max_content_widths().iter().map(|&column| usize::from(column + GAP) + 1).sum();
    if natural <= usize::from(width) {
        return;
    }
    let longest: Vec<usize> = (0..table.column_count()).map(|index| longest_word(table, index)).collect();
    for (column, longest) in table.column_iter_mut().zip(longest) {
        let least = u16::try_from(longest.min(LONGEST_WORD)).unwrap_or(u16::MAX).saturating_add(GAP);
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
}

fn longest_word(table: &Table, column: usize) -> usize {
    let head = table.header().and_then(|head| head.cell_iter().nth(column));
    let cells = head.into_iter().chain(table.column_cells_iter(column).flatten());
    let words = cells.map(|cell| cell.content().split_whitespace().map(|word| word.chars().count()).max());
    words.flatten().max().unwrap_or(0)
}

pub(crate) fn row(cells: impl IntoIterator<Item = Cell>) -> Row {
    Row::from(cells.into_iter().collect::<Vec<_>>())
}

const fn alignment(align: Align) -> CellAlignment {
    match align {
        Align::Words => CellAlignment::Left,
        Align::Numbers => CellAlignment::Right,
    }
}

pub(crate) fn plain(text: impl ToString) -> Cell {
    Cell::new(text)
}

/// What matters less.
pub(crate) fn quiet(text: impl ToString) -> Cell {
    Cell::new(text).add_attribute(Attribute::Dim)
}

/// An outcome: fine is quiet, a fallback or an invalid number wants a look, a failure wants a person. The word says it
/// all; the colour only helps to find it.
pub(crate) fn outcome(text: &str) -> Cell {
    match text {
        "ok" => Cell::new(text),
        "ok_fallback" => Cell::new(text).fg(Color::Yellow),
        "cancelled" | "queued" | "leased" | "running" => Cell::new(text).add_attribute(Attribute::Dim),
        _ => Cell::new(text).fg(Color::Red),
    }
}

pub(crate) fn attention(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Yellow)
}

pub(crate) fn failure(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Red)
}
