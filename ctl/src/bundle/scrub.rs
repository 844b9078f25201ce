//! Leaving out what looks like a secret. Pure.
//!
//! Errs on the side of removal: values of secret names are removed, and so is text in the shape of a
//! token wherever it stands.

use serde_json::{Map, Value};

/// Placeholder of removed text.
const LEFT_OUT: &str = "[left out]";
/// Parts of names whose values are secret.
const SECRET_NAMES: [&str; 10] = [
    "token",
    "password",
    "passphrase",
    "passwd",
    "secret",
    "credential",
    "apikey",
    "api-key",
    "api_key",
    "private",
];
/// The end of such names of variables; as a part it would be one of most names.
const SECRET_END: &str = "_key";
/// Length from which a word of letters and digits counts as a key or token, unless it is hexadecimal, as digests are.
const LONG_WORD: usize = 40;

/// An object without values that are secret, without what only the API server needs.
pub(super) fn object(mut value: Value) -> Value {
    if value["kind"] == "Secret" {
        return Value::from(LEFT_OUT);
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    fields(&mut value);
    value
}

fn fields(value: &mut Value) {
    match value {
        Value::Object(map) => of_map(map),
        Value::Array(values) => values.iter_mut().for_each(fields),
        _ => {}
    }
}

fn of_map(map: &mut Map<String, Value>) {
    // An environment variable is a name and a value.
    let is_secret_variable = map
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(is_secret_name);
    for (key, value) in map.iter_mut() {
        let is_secret = match value {
            Value::String(_) => {
                is_secret_name(key) && !is_reference(key) || is_secret_variable && key == "value"
            }
            _ => false,
        };
        match is_secret {
            true => *value = Value::from(LEFT_OUT),
            false => fields(value),
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part)) || name.ends_with(SECRET_END)
}

/// The name of a Secret is not secret.
fn is_reference(key: &str) -> bool {
    matches!(
        key,
        "secretName" | "tokenExpirationSeconds" | "automountServiceAccountToken"
    )
}

/// Text without tokens, keys and passwords.
pub(super) fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        in_key |= line.contains("-----BEGIN");
        let ends = line.contains("-----END");
        match in_key {
            true if ends => clean.push_str(&format!("{LEFT_OUT}\n")),
            true => {}
            false => clean.push_str(&words(&without_users(line))),
        }
        in_key &= !ends;
    }
    clean
}

/// A line whose URLs name no user and no password: `http://USER:PASSWORD@HOST`.
fn without_users(line: &str) -> String {
    let mut parts = line.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |c: char| c.is_whitespace() || "/\"'<>`".contains(c);
        let (host, rest) = part.split_at(part.find(ends).unwrap_or(part.len()));
        clean += "://";
        clean += &match host.rsplit_once('@') {
            Some((_, host)) => format!("{LEFT_OUT}@{host}"),
            None => host.to_owned(),
        };
        clean += rest;
    }
    clean
}

/// Line without secret words, or values of secret names.
fn words(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut before = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./+=~".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        clean.push_str(&of_word(word, &before));
        let gap = tail.find(is_word).unwrap_or(tail.len());
        clean.push_str(&tail[..gap]);
        if !word.is_empty() {
            // A name speaks of the next word only where nothing but `: "` or the like is between.
            let is_near = tail[..gap].chars().all(|c| " :=\"'\\>".contains(c));
            before = if is_near {
                word.to_ascii_lowercase()
            } else {
                String::new()
            };
        }
        rest = &tail[gap..];
    }
    clean
}

fn of_word(word: &str, before: &str) -> String {
    if let Some((name, value)) = word.split_once('=')
        && is_secret_name(name)
        && !value.is_empty()
    {
        return format!("{name}={LEFT_OUT}");
    }
    let is_told = matches!(before, "bearer" | "basic" | "authorization")
        || SECRET_NAMES.iter().any(|part| before.ends_with(part))
        || before.ends_with(SECRET_END);
    let is_value = word.len() >= 8 && word.chars().any(|c| c.is_ascii_digit());
    match is_told && is_value || is_token(word) {
        true => LEFT_OUT.to_owned(),
        false => word.to_owned(),
    }
}

/// A JSON web token, a bootstrap token, or a long random word.
fn is_token(word: &str) -> bool {
    if word.starts_with("eyJ") && word.len() > 20 {
        return true;
    }
    if let Some((id, secret)) = word.split_once('.') {
        let is_plain = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if id.len() == 6
            && secret.len() == 16
            && is_plain(id)
            && is_plain(secret)
            && has_digit(id)
            && has_digit(secret)
        {
            return true;
        }
    }
    let is_base64 = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    let is_hex = word.chars().all(|c| c.is_ascii_hexdigit());
    let is_mixed = has_digit(word)
        && word.chars().any(|c| c.is_ascii_lowercase())
        && word.chars().any(|c| c.is_ascii_uppercase());
    word.len() >= LONG_WORD && is_base64 && !is_hex && is_mixed
}

fn has_digit(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_looks_like_a_secret_is_left_out_wherever_it_stands() {
        #[rustfmt::skip]
        let cases = [
            ("planted JWT",       "x eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJpc3MiOiJrdWJl.c2ln y",  "x [left out] y"),
            ("header",            "Authorization: Bearer abcdefgh12345678",                   "Authorization: Bearer [left out]"),
            ("assignment",        "DB_PASSWORD=hunter2 next",                                 "DB_PASSWORD=[left out] next"),
            ("JSON in a log",     "{\"token\":\"s3cr3tvalue\"}",                              "{\"token\":\"[left out]\"}"),
            ("bootstrap token",   "join abcde1.0123456789abcdef",                             "join [left out]"),
            ("URL",               "HTTPS_PROXY=http://svc:hunter2@proxy:3128/a, next",         "HTTPS_PROXY=http://[left out]@proxy:3128/a, next"),
            ("URL of JSON",       "\"http://hunter2@a:1\",\"http://b:p@ss@[fd00::1]\"",      "\"http://[left out]@a:1\",\"http://[left out]@[fd00::1]\""),
            ("variable, key",     "SIGNING_KEY=hunter2 SIGNING_KEY: \"hunter22\"",            "SIGNING_KEY=[left out] SIGNING_KEY: \"[left out]\""),
            ("passphrase",        "passphrase: hunter22",                                     "passphrase: [left out]"),
            ("other @ stay",      "https://example.org/a@1.0 n1@cluster https://h:1/?x",      "https://example.org/a@1.0 n1@cluster https://h:1/?x"),
            ("32 bytes, base64",  "key 9k2JX0m0f1P2q3R4s5T6u7V8w9X0y1Z2a3B4c5D6e7F=",          "key [left out]"),
            ("PEM",               "a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "a\n[left out]\nb"),
            ("a digest stays",    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                                  "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
            ("prose stays",       "no token was given; the secret of n1 is mounted",          "no token was given; the secret of n1 is mounted"),
            ("addresses stay",    "10.80.1.0/24 via fd00:80::1",                              "10.80.1.0/24 via fd00:80::1"),
        ];
        for (what, text, expected) in cases {
            assert_eq!(scrub(text), expected, "{what}");
        }
    }

    #[test]
    fn objects_lose_values_and_keep_names() {
        let pod = json!({
            "kind": "Pod",
            "metadata": {"name": "p", "managedFields": [1], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "vault.io/token": "planted", "a": "b"}},
            "spec": {
                "volumes": [{"secret": {"secretName": "mesh-key"}}],
                "containers": [{"env": [{"name": "API_TOKEN", "value": "planted"}, {"name": "SIGNING_KEY", "value": "planted"},
                    {"name": "NODE", "value": "n1"}]}],
            },
        });
        let clean = object(pod).to_string();
        assert!(
            !clean.contains("planted") && !clean.contains("managedFields"),
            "{clean}"
        );
        assert!(
            clean.contains("mesh-key") && clean.contains("n1") && clean.contains("API_TOKEN"),
            "{clean}"
        );
        assert_eq!(
            object(json!({"kind": "Secret", "data": {"a": "planted"}})),
            json!(LEFT_OUT)
        );
    }
}
