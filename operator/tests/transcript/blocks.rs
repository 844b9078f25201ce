//! A Markdown file as prose and the commands of its `console` blocks.

/// A piece of the file.
pub(crate) enum Part {
    /// Lines that are kept as they are, fences among them.
    Prose(String),
    /// A command and what it prints.
    Command {
        /// The shell command, without `$`; `\` joins lines.
        command: String,
        /// All that it prints, to both its outputs.
        output: String,
    },
}

const FENCE: &str = "```";

/// Splits a Markdown text.
pub(crate) fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut is_console = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with(FENCE) {
            is_console = line.trim_end() == "```console";
            push_prose(&mut parts, line, true);
        } else if !is_console {
            push_prose(&mut parts, line, false);
        } else if let Some(command) = line.strip_prefix("$ ") {
            let command = command.trim_end_matches('\n').to_owned();
            let output = String::new();
            parts.push(Part::Command { command, output });
        } else {
            push_output(&mut parts, line);
        }
    }
    parts
}

fn push_prose(parts: &mut Vec<Part>, line: &str, is_new: bool) {
    match parts.last_mut() {
        Some(Part::Prose(prose)) if !is_new => prose.push_str(line),
        _ => parts.push(Part::Prose(line.to_owned())),
    }
}

fn push_output(parts: &mut [Part], line: &str) {
    if let Some(Part::Command { command, output }) = parts.last_mut() {
        if output.is_empty() && command.ends_with('\\') {
            command.push('\n');
            command.push_str(line.trim_end_matches('\n'));
        } else {
            output.push_str(line);
        }
    }
}

/// The Markdown text again.
pub(crate) fn print(parts: &[Part]) -> String {
    let print = |part: &Part| match part {
        Part::Prose(prose) => prose.clone(),
        Part::Command { command, output } => format!("$ {command}\n{output}"),
    };
    parts.iter().map(print).collect()
}
