//! Rendered chart, compared with files for review. `UPDATE_GOLDEN=1` rewrites them.

use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::helm::{self, Values};

pub(crate) fn golden_default() -> Result<()> {
    check(Values::Default)
}

pub(crate) fn golden_everything() -> Result<()> {
    check(Values::Everything)
}

pub(crate) fn golden_minimal() -> Result<()> {
    check(Values::Minimal)
}

fn check(values: Values) -> Result<()> {
    let rendered = helm::template("beemesh", &values.arguments())?;
    compare(&format!("{}.yaml", values.name()), &rendered)
}

/// Holds `actual` beside the golden file `name`.
pub(crate) fn compare(name: &str, actual: &str) -> Result<()> {
    let path = helm::tests().join("golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        return Ok(fs::write(path, actual)?);
    }
    let expected = fs::read_to_string(&path)
        .with_context(|| format!("no {name}: UPDATE_GOLDEN=1 writes it"))?;
    if expected == actual {
        return Ok(());
    }
    let line = expected
        .lines()
        .zip(actual.lines())
        .position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    bail!(
        "{name}, line {}: expected {:?}, rendered {:?}. UPDATE_GOLDEN=1 accepts it",
        line + 1,
        expected.lines().nth(line).unwrap_or_default(),
        actual.lines().nth(line).unwrap_or_default()
    )
}
