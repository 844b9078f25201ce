//! Control characters in texts of nodes, pods and files, escaped before they reach a terminal.
//!
//! ```text
//! tables, JSON, YAML -> output::stdout --.
//! errors, notes, progress --> stderr -----+-> escape -> terminal
//! entries of an archive ------------------'
//! ```
//! All output of the command is escaped here: a terminal acts on ESC and C1 sequences (title,
//! clipboard, colours), and bidirectional controls (Unicode, UAX #9) reorder a displayed text.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

/// `text` with each control character but line feed and tab as `\u001b`, which JSON strings and quoted YAML read back.
///
/// Escaped are C0, DEL, C1, U+061C, U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) || !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_control(c) {
            // Writing to a String cannot fail.
            true => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\t')
}

fn is_control(c: char) -> bool {
    let is_bidi = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_bidi || c.is_control() && !matches!(c, '\n' | '\t')
}

/// A writer of whole characters, escaped. Bytes that are no UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().copied().all(is_plain) {
            return self.0.write(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(escape(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes `text` and a newline to stderr.
pub fn say(text: &str) {
    // With a closed stderr only the exit code is left.
    let _ = writeln!(io::stderr(), "{}", escape(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        #[rustfmt::skip]
        let cases = [
            ("plain text stays",      "a b\n\tc",                "a b\n\tc"),
            ("letters stay",          "Zürich, 東京, עברית",      "Zürich, 東京, עברית"),
            ("title of a window",     "\x1b]0;owned\x07",        "\\u001b]0;owned\\u0007"),
            ("carriage return",       "node n1\rnode n2",        "node n1\\u000dnode n2"),
            ("backspace, DEL",        "a\x08b\x7f",              "a\\u0008b\\u007f"),
            ("CSI of C1",             "\u{9b}31m",               "\\u009b31m"),
            ("bidirectional",         "a\u{202e}b\u{2066}c",     "a\\u202eb\\u2066c"),
        ];
        for (what, text, expected) in cases {
            assert_eq!(escape(text), expected, "{what}");
            let mut writer = Escaped(Vec::new());
            writer.write_all(text.as_bytes()).expect("memory");
            assert_eq!(writer.0, expected.as_bytes(), "{what}");
        }
    }

    #[test]
    fn json_reads_back_what_was_escaped() {
        let text = "\u{1b}]0;\u{9b}\u{202e}\u{7f}é";
        let mut writer = Escaped(Vec::new());
        serde_json::to_writer(&mut writer, &text).expect("memory");
        let printed = String::from_utf8(writer.0).expect("UTF-8");
        assert!(!printed.contains(is_control), "{printed:?}");
        assert_eq!(
            serde_json::from_str::<String>(&printed).expect("JSON"),
            text
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut writer = Escaped(Vec::new());
        writer.write_all(b"a\x9bb").expect("memory");
        assert_eq!(writer.0, "a\u{fffd}b".as_bytes());
    }
}
