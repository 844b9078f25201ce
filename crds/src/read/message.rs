//! Serde's messages, rephrased for writers of YAML.

use serde_json::Value;

use crate::suggest;

/// The field that serde misses, if that is what `error` says.
pub(super) fn missing_field(error: &str) -> Option<&str> {
    error.strip_prefix("missing field `")?.strip_suffix('`')
}

/// `error` as `expected ..., found ...`.
pub(super) fn plain(error: &str) -> String {
    for prefix in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some(rest) = error.strip_prefix(prefix)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let hint = match (expected, found.split_once(' ')) {
                ("a string", Some(("integer" | "boolean", _))) => ": put it into quotes",
                // YAML takes digits after a zero for a decimal number, so that the text is lost.
                ("a string", Some(("floating", _))) => ": put it into quotes, as it is written",
                _ => "",
            };
            return format!("expected {}, found {}{hint}", wanted(expected), got(found));
        }
    }
    if let Some(rest) = error.strip_prefix("unknown variant `")
        && let Some((found, variants)) = rest.split_once("`, expected ")
    {
        let names: Vec<&str> = variants.split('`').skip(1).step_by(2).collect();
        let hint = suggest::hint(found, names.iter().copied());
        return format!(
            "expected one of {}, found {found:?}{hint}",
            names.join(", ")
        );
    }
    error.to_owned()
}

/// Short description of `value`.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{:?}", shortened(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn wanted(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "string or map" => "a word",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("enum ") => "a word",
        _ => expected,
    }
}

fn got(found: &str) -> String {
    let plain = match found {
        "null" => "nothing",
        "map" => "an object",
        "sequence" => "a list",
        _ => found,
    };
    shortened(plain.replace('`', "").as_str())
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST).collect();
    format!("{kept}...")
}
