//! Mermaid: a diagram that Markdown viewers draw.

use super::{Link, Picture, Stage};
use std::fmt::{self, Write};

/// Draws `picture` as a Mermaid flowchart.
pub fn mermaid(picture: &Picture) -> String {
    let mut text = String::new();
    write(picture, &mut text).expect("a String takes every write");
    text
}

fn write(picture: &Picture, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "---\ntitle: {}\n---\nflowchart LR",
        quoted(&picture.title)
    )?;
    for (position, forwarder) in picture.forwarders.iter().enumerate() {
        let label = labelled(
            &forwarder.name,
            forwarder.distance.filter(|_| !forwarder.is_root),
        );
        let class = match forwarder {
            _ if forwarder.is_failed => ":::failed",
            _ if forwarder.is_root => ":::root",
            _ => "",
        };
        writeln!(out, "  f{position}(({label})){class}")?;
    }
    for (position, app) in picture.apps.iter().enumerate() {
        writeln!(
            out,
            "  a{position}({}):::app",
            labelled(&app.name, app.distance)
        )?;
    }
    let mut styles = Styles::default();
    for link in &picture.links {
        if picture.stage == Stage::Mwt && link.is_heavier {
            continue;
        }
        styles.note(link.is_tree());
        writeln!(out, "  {}", edge(link))?;
    }
    for (position, app) in picture.apps.iter().enumerate() {
        for edge in &app.attachments {
            styles.note(edge.is_tree);
            let line = if edge.is_tree { "-->" } else { "---" };
            writeln!(
                out,
                "  f{} {line}|{}| a{position}",
                edge.forwarder, edge.weight
            )?;
        }
    }
    writeln!(
        out,
        "  classDef app fill:#fff8eb,stroke:#d9922b,color:#7a4a0a"
    )?;
    writeln!(out, "  classDef root stroke:#2563eb,stroke-width:3px")?;
    writeln!(
        out,
        "  classDef failed fill:#f1f5f9,stroke:#a3adba,stroke-dasharray:4 4"
    )?;
    if !styles.tree.is_empty() {
        writeln!(
            out,
            "  linkStyle {} stroke:#2563eb,stroke-width:3px",
            styles.tree.join(",")
        )?;
    }
    Ok(())
}

/// Mermaid styles edges by their position in the text.
#[derive(Default)]
struct Styles {
    count: usize,
    tree: Vec<String>,
}

impl Styles {
    fn note(&mut self, is_tree: bool) {
        if is_tree {
            self.tree.push(self.count.to_string());
        }
        self.count += 1;
    }
}

fn edge(link: &Link) -> String {
    let label = link.label();
    let (from, to) = if link.is_tree_ba {
        (link.b, link.a)
    } else {
        (link.a, link.b)
    };
    let line = match link {
        _ if link.is_failed => "-.-",
        _ if link.is_tree() => "-->",
        _ => "---",
    };
    format!("f{from} {line}|{label}| f{to}")
}

fn labelled(name: &str, distance: Option<u64>) -> String {
    match distance {
        Some(distance) => quoted(&format!("{name}<br/>{distance}")),
        None => quoted(name),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;"))
}
