//! Tables that a screen reader can walk through: a caption, a heading for each column and row.

use maud::{Markup, html};

/// A column: its heading, and whether it holds numbers, which stand at the right.
pub(super) struct Column(pub(super) &'static str, pub(super) bool);

pub(super) const fn text(heading: &'static str) -> Column {
    Column(heading, false)
}

pub(super) const fn numbers(heading: &'static str) -> Column {
    Column(heading, true)
}

/// A table whose rows become blocks on a phone, each cell under its heading. `id` is unique on the
/// page. The first cell of a row is its heading.
pub(super) fn table(
    id: &str,
    caption: &Markup,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    of_class("stacks", id, caption, columns, rows)
}

/// A table of numbers, which stays one on a phone too.
pub(super) fn grid(
    id: &str,
    caption: &Markup,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    of_class("grid", id, caption, columns, rows)
}

/// What is too wide for the screen is moved sideways on its own, by keyboard too. The roles are
/// those of the elements: a browser drops them where the style sheet makes blocks of rows.
fn of_class(
    class: &str,
    id: &str,
    caption: &Markup,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    html! {
        div.scroll role="region" aria-labelledby=(id) tabindex="0" {
            table class=(class) role="table" {
                caption id=(id) { (caption) }
                thead role="rowgroup" {
                    tr role="row" {
                        @for Column(heading, is_number) in columns {
                            th.n[*is_number] scope="col" role="columnheader" { (heading) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" { (cells(columns, &row)) }
                    }
                }
            }
        }
    }
}

fn cells(columns: &[Column], row: &[Markup]) -> Markup {
    html! {
        @for (place, (Column(heading, is_number), cell)) in columns.iter().zip(row).enumerate() {
            @if place == 0 {
                th.n[*is_number] scope="row" role="rowheader" data-heading=(heading) { (cell) }
            } @else {
                td.n[*is_number] role="cell" data-heading=(heading) { (cell) }
            }
        }
    }
}
