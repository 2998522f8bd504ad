//! As much Markdown as the README uses.

pub(super) const README: &str = include_str!("../../../README.md");

/// The fenced blocks of a language.
pub(super) fn blocks(language: &str) -> Vec<&'static str> {
    let found: Vec<&str> = fences()
        .into_iter()
        .filter(|(of, _)| *of == language)
        .map(|(_, body)| body)
        .collect();
    assert!(!found.is_empty(), "no block in {language}");
    found
}

/// Every fenced block with its language, in order.
pub(super) fn fences() -> Vec<(&'static str, &'static str)> {
    // Between two fences lies, in turns, prose and a block.
    let mut parts = README.split("```").skip(1).step_by(2);
    let mut fences = Vec::new();
    for part in &mut parts {
        fences.push(part.split_once('\n').expect("a block has lines"));
    }
    fences
}

/// What stands in backticks in prose and tables.
pub(super) fn code_spans() -> Vec<&'static str> {
    README
        .split("```")
        .step_by(2)
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .collect()
}

pub(super) fn is_code(text: &str) -> bool {
    code_spans().contains(&text)
}

/// The rows of the table whose first heading this is, cell by cell.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let start = format!("\n| {heading} |");
    let (_, after) = README.split_once(&start).expect("the table is there");
    let rows: Vec<Vec<String>> = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "the table of {heading} has no rows");
    rows
}
