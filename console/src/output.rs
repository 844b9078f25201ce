//! Output of results: a table for people, JSON and YAML for programs, through one writer that
//! reports a closed pipe instead of panicking.

use crate::{failure::Failure, terminal::Escaped};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Output formats of every verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs; one document.
    Json,
    /// The same document as YAML.
    Yaml,
}

/// `-o`, to be flattened into the arguments of a verb.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Output {
    /// Output format
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: Format,
}

impl Output {
    /// Prints `value` as JSON or YAML, or what `table` makes of it.
    ///
    /// # Errors
    /// [`Failure::Write`] when stdout cannot be written.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&table(value)),
            Format::Json => print_json(value),
            Format::Yaml => print(&to_yaml(value)?),
        }
    }
}

/// A buffered stdout without control characters: flush it before leaving, so that a full disk is noticed.
pub fn stdout() -> Escaped<BufWriter<StdoutLock<'static>>> {
    Escaped(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
}

/// Prints `text`, with a line end if it has none.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    let end: &[u8] = if text.is_empty() || text.ends_with('\n') {
        b""
    } else {
        b"\n"
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(end))
        .and_then(|()| out.flush())
        .map_err(Failure::Write)
}

/// Prints `value` as JSON.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(|error| Failure::Write(error.into()))?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .map_err(Failure::Write)
}

/// `value` as a YAML document.
///
/// # Errors
/// [`Failure::Failed`] when the value has no YAML form, such as a map with a map as its key.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::Failed(format!("failed to write YAML: {error}")))
}

/// A borderless table as kubectl prints it; the columns in `numbers` are aligned to the right.
pub fn table(headings: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings.iter());
    for (position, column) in table.column_iter_mut().enumerate() {
        let left = if position == 0 { 0 } else { 2 };
        column.set_padding((left, 1));
        if numbers.contains(&position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table as text without blanks at the ends of lines.
pub fn table_text(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
