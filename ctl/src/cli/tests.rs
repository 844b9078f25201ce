//! The command line, and every example of it that help and documents show.

use super::Cli;
use clap::{Command, CommandFactory};
use std::path::Path;

#[test]
fn no_option_is_declared_twice() {
    Cli::command().debug_assert();
}

/// Words of the commands `beemesh ...` of one line of a shell: pipes, redirections and comments end a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let (mut word, mut quote): (Option<String>, Option<char>) = (None, None);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => {
                let words = commands.last_mut().expect("one is there");
                words.extend(word.take());
            }
            (None, '|' | ';' | '&') => {
                let words = commands.last_mut().expect("one is there");
                words.extend(word.take());
                commands.push(Vec::new());
            }
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    for words in &mut commands {
        if let Some(end) = words
            .iter()
            .position(|word| word.starts_with(['>', '<']) || word == "2>&1")
        {
            words.truncate(end);
        }
        if words.first().is_some_and(|word| word == "kubectl") {
            words.remove(0);
        }
    }
    commands.retain(|words| words.first().is_some_and(|word| word == "beemesh") && words.len() > 1);
    commands
}

fn parse(words: &[String]) -> Result<(), String> {
    let matches = Cli::command().try_get_matches_from(words);
    matches
        .map(drop)
        .map_err(|error| format!("{}\n{error}", words.join(" ")))
}

/// Every verb that is shown, and those below it.
fn verbs(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let path = format!("{path} {}", verb.get_name());
        let help = verb.get_after_help().map(ToString::to_string);
        found.push((path.clone(), help.unwrap_or_default()));
        verbs(verb, &path, found);
    }
}

#[test]
fn every_example_of_every_verb_is_a_command_line() {
    let mut found = Vec::new();
    verbs(&Cli::command(), "beemesh", &mut found);
    let mut wrong = Vec::new();
    for (verb, help) in &found {
        let examples: Vec<_> = help
            .lines()
            .filter(|line| line.starts_with("  "))
            .flat_map(commands)
            .collect();
        // The lab shows its verbs in one place; a group of verbs has none.
        let is_shown = verb.starts_with("beemesh lab ") || verb == "beemesh connectivity";
        if examples.is_empty() && !is_shown {
            wrong.push(format!("{verb}: no example"));
        }
        wrong.extend(examples.iter().filter_map(|words| parse(words).err()));
    }
    assert!(found.len() > 25, "{found:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_of_the_documents_is_a_command_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the root");
    let pages = std::fs::read_dir(root.join("docs")).expect("docs");
    let pages = pages.map(|page| page.expect("a page").path());
    let readme = ["README.md", "charts/beemesh/README.md"].map(|page| root.join(page));
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages
        .chain(readme)
        .filter(|page| page.extension().is_some_and(|it| it == "md"))
    {
        let text = std::fs::read_to_string(&page).expect("a page");
        // Every second part is code.
        for block in text.split("\n```").skip(1).step_by(2) {
            let lines = block
                .lines()
                .skip(1)
                .map(|line| line.trim_start_matches("$ "));
            for words in lines.flat_map(commands) {
                count += 1;
                wrong.extend(
                    parse(&words)
                        .err()
                        .map(|why| format!("{}: {why}", page.display())),
                );
            }
        }
    }
    assert!(count > 20, "{count} examples");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
