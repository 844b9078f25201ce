//! Production code of a file: its text without `#[cfg(test)]` items.

/// The lines of `text` that are not part of an item under `#[cfg(test)]`.
///
/// An item ends at its `;`, or where its braces are balanced again. Braces in strings and comments
/// count too, which rustfmt'd sources bear: an item's last line is the brace at its own indentation.
pub fn production(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(indentation) = line
            .find("#[cfg(test)]")
            .filter(|at| line[..*at].trim().is_empty())
        else {
            kept.push_str(line);
            kept.push('\n');
            continue;
        };
        let end = format!("{}}}", &line[..indentation]);
        for line in lines.by_ref() {
            let is_attribute = line.trim_start().starts_with("#[");
            if !is_attribute
                && (line.ends_with(';')
                    && line.find(|c: char| !c.is_whitespace()) == Some(indentation)
                    || line == end)
            {
                break;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_items_are_left_out_and_nothing_else() {
        let text = "use a;\n#[cfg(test)]\nmod tests;\nfn f() {\n}\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n    fn g() {\n    }\n}\nfn h() {}\n";
        assert_eq!(production(text), "use a;\nfn f() {\n}\nfn h() {}\n");
    }
}
