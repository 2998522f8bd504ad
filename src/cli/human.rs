//! What the commands print for people: values as [`crate::human`] spells them, lines that fit, and
//! tables without boxes.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

pub(super) use crate::human::{
    age, count, duration, estimate, rate, size, span, time, time_and_age,
};
use crate::printable::printable;

/// Texts for people end here; what is longer than a line goes on below.
const WIDTH: usize = 79;

/// `start` and then the words of `text`, with further lines as far in as the text begins. A word
/// that is longer than a line stays whole: it may be copied.
pub(super) fn hanging(start: &str, text: &str) -> String {
    let indent = start.chars().count();
    let mut lines = start.to_owned();
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent {
            if column + 1 + length > WIDTH {
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                lines.push(' ');
                column += 1;
            }
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Two texts on one line, or the second one below and further in, if they are too long for that.
pub(super) fn beside_or_below(first: &str, second: &str) -> String {
    let fits = first.chars().count() + 1 + second.chars().count() <= WIDTH;
    let between = if fits { " " } else { "\n  " };
    format!("{first}{between}{second}")
}

/// Lines up rows under a header; the columns named in `right` are numbers.
///
/// Nothing is wrapped or cut: the lines may be piped into other tools.
pub(super) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let printable = |row: Vec<String>| row.into_iter().map(|cell| printable(&cell).into_owned());
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(header.to_vec())
        .add_rows(rows.into_iter().map(printable));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_goes_on_below_where_it_began() {
        let words = ["word"; 30].join(" ");
        let text = hanging("start     ", &words);
        assert!(text.lines().count() > 1);
        for (number, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            let start = if number == 0 {
                "start     w"
            } else {
                "          w"
            };
            assert!(line.starts_with(start), "{line}");
        }
        let whole = "x".repeat(200);
        assert_eq!(hanging("", &whole), whole);
        assert_eq!(hanging("key  ", ""), "key  ");
    }

    #[test]
    fn what_does_not_fit_beside_comes_below() {
        assert_eq!(beside_or_below("one", "two"), "one two");
        let long = "x".repeat(WIDTH - 4);
        assert_eq!(beside_or_below("one", &long), format!("one {long}"));
        assert_eq!(beside_or_below("four", &long), format!("four\n  {long}"));
    }

    #[test]
    fn a_table_lines_up_without_boxes() {
        let rows = vec![
            vec!["a".to_owned(), "7".to_owned()],
            vec!["long name".to_owned(), "1000".to_owned()],
        ];
        assert_eq!(
            table(&["name", "size"], &[1], rows),
            "name       size\na             7\nlong name  1000"
        );
    }
}
