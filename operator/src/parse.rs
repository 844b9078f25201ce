//! Parsers of option values.

use std::time::Duration;

/// A number of seconds, such as `90` or `90s`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a number of seconds, 1 or more".to_owned()),
    }
}
