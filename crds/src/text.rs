//! Text of others, such as nodes and pods, made fit for a line of a message.

/// `text` in at most `most` characters. Control characters and those that change the direction of text are escaped as
/// `\u{...}`: in a terminal they would act. Text that was cut ends with `…`.
pub fn printable(text: &str, most: usize) -> String {
    let (mut printed, mut count) = (String::new(), 0);
    // Where to cut, so that the mark of the cut still has room.
    let mut cut = 0;
    for piece in text.chars().map(escaped) {
        count += piece.chars().count();
        if count > most {
            printed.truncate(cut);
            printed.push('…');
            break;
        }
        printed.push_str(&piece);
        if count < most {
            cut = printed.len();
        }
    }
    printed
}

fn escaped(character: char) -> String {
    let is_bidirectional = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    match character.is_control() || is_bidirectional {
        true => character.escape_unicode().to_string(),
        false => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_on_a_terminal_are_escaped() {
        assert_eq!(printable("link is down", 99), "link is down");
        assert_eq!(printable("\u{1b}]0;x\u{7}", 99), "\\u{1b}]0;x\\u{7}");
        assert_eq!(
            printable("a\nb\u{9b}\u{202e}c", 99),
            "a\\u{a}b\\u{9b}\\u{202e}c"
        );
        assert_eq!(printable("größe", 99), "größe");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(printable("abcde", 5), "abcde");
        assert_eq!(printable("abcdef", 5), "abcd…");
        assert_eq!(printable("öööööö", 5), "öööö…");
        assert_eq!(printable("abc\u{1b}", 5), "abc…");
        for most in 1..20 {
            let cut = printable(&"\u{1b}x".repeat(1_000), most);
            assert!(cut.chars().count() <= most, "{most}: {cut}");
        }
    }
}
