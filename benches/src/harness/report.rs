//! Report of all figures: JSON into a file, a table onto standard output.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::harness::figure::Figure;

/// Writes `bench.json` and prints the table.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(figures: &[Figure], output: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    fs::write(output, json + "\n")
        .with_context(|| format!("failed to write {}", output.display()))?;
    print!("{}", table(figures));
    println!("\nwritten to {}", output.display());
    Ok(())
}

/// One line for each figure, columns aligned.
fn table(figures: &[Figure]) -> String {
    let head = ["name", "value", "unit", "peer", "its value", "ratio", "how"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(figures.iter().map(row))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate().take(6) {
            let width = width(column);
            // Numbers to the right, words to the left.
            let written = match column {
                1 | 4 | 5 => write!(text, "{cell:>width$}  "),
                _ => write!(text, "{cell:<width$}  "),
            };
            written.expect("a string takes everything");
        }
        text += row[6].trim_end();
        text.push('\n');
    }
    text
}

fn row(figure: &Figure) -> [String; 7] {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
    [
        figure.name.clone(),
        number(Some(figure.value)),
        figure.unit.to_owned(),
        figure.peer.clone().unwrap_or_else(|| "-".to_owned()),
        number(figure.peer_value),
        number(figure.ratio),
        figure.note.clone(),
    ]
}
