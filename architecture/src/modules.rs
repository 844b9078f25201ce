//! The graph of a crate's top-level modules, and its circles.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::Source;

/// Top-level modules that each top-level module uses.
pub type Edges = BTreeMap<String, BTreeSet<String>>;

/// The edges among the top-level modules of the crate with these `sources`. A name that the crate's
/// root re-exports counts as an edge to the module that has it; the root itself has no edges.
pub fn edges(sources: &[Source]) -> Edges {
    let first = |source: &Source| source.module.first().cloned();
    let modules: BTreeSet<String> = sources.iter().filter_map(first).collect();
    let exports = exports(sources, &modules);
    let mut edges: Edges = modules
        .iter()
        .map(|name| (name.clone(), BTreeSet::new()))
        .collect();
    for source in sources {
        let Some(from) = source.module.first() else {
            continue;
        };
        for name in names(source) {
            let to = exports.get(&name).unwrap_or(&name);
            if modules.contains(to) && to != from {
                edges.get_mut(from).expect("a module").insert(to.clone());
            }
        }
    }
    edges
}

/// The modules below the top-level module `room`, as if it were a crate of its own.
pub fn room(sources: &[Source], room: &str) -> Vec<Source> {
    let inside = |source: &&Source| source.module.first().is_some_and(|first| first == room);
    let (outer, own) = ("crate::", format!("crate::{room}::"));
    let alone = |source: &Source| Source {
        module: source.module[1..].to_vec(),
        // What is not of the room is no module of it, whatever its name.
        text: source
            .text
            .replace(&own, "\u{0}")
            .replace(outer, "outside::")
            .replace('\u{0}', outer),
        ..source.clone()
    };
    sources.iter().filter(inside).map(alone).collect()
}

/// Sets of modules that use one another in a circle, each in order.
pub fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    let nodes: BTreeMap<&str, _> = edges
        .keys()
        .map(|name| (name.as_str(), graph.add_node(name)))
        .collect();
    for (from, to) in edges {
        for to in to {
            graph.add_edge(nodes[from.as_str()], nodes[to.as_str()], ());
        }
    }
    let strong = tarjan_scc(&graph).into_iter().filter(|set| set.len() > 1);
    let sort = |set: Vec<petgraph::graph::NodeIndex>| {
        let set: BTreeSet<String> = set.into_iter().map(|node| graph[node].to_owned()).collect();
        set.into_iter().collect()
    };
    let mut circles: Vec<Vec<String>> = strong.map(sort).collect();
    circles.sort();
    circles
}

/// Names that a module of the crate takes from the crate's root.
fn names(source: &Source) -> BTreeSet<String> {
    let text = without_comments(&source.text);
    let mut found = heads(&text, "crate::");
    // From a module at depth n, n times `super::` is the root.
    let depth = source.module.len();
    found.extend(heads(&text, &"super::".repeat(depth)));
    found
}

/// First segments of all paths that follow `prefix`, also in braces.
fn heads(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut heads = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => heads.extend(group_heads(group)),
            None => heads.extend(identifier(rest)),
        }
    }
    heads
}

/// First segments of the paths in a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut is_start, mut heads) = (0_u32, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Names that the root re-exports, and the module that each comes from.
fn exports(sources: &[Source], modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for root in sources.iter().filter(|source| source.module.is_empty()) {
        let text = without_comments(&root.text);
        for statement in text.split(';') {
            let Some((_, path)) = statement.split_once("use ") else {
                continue;
            };
            let path = path
                .trim()
                .trim_start_matches("crate::")
                .trim_start_matches("self::");
            let Some(module) = identifier(path).filter(|module| modules.contains(module)) else {
                continue;
            };
            let words = path.split(|c: char| !c.is_alphanumeric() && c != '_');
            for word in words.filter(|word| !word.is_empty() && *word != module) {
                exports.insert(word.to_owned(), module.clone());
            }
        }
    }
    exports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(module: &str, text: &str) -> Source {
        let module = module.split("::").filter(|part| !part.is_empty());
        Source {
            path: "x.rs".into(),
            module: module.map(str::to_owned).collect(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn every_way_to_name_a_module_is_an_edge() {
        #[rustfmt::skip]
        let cases = [
            ("a",    "use crate::b::X;",                    "b"),
            ("a",    "use crate::{\n    c,\n    b::{X, c}};", "b c"),
            ("a",    "fn f() { super::b::g() }",            "b"),
            ("a::d", "use super::super::c;",                "c"),
            ("a::d", "use super::b;",                       ""),
            ("a",    "use crate::Exported;",                "c"),
            ("a",    "// crate::b\nuse other_crate::b;",    ""),
            ("a",    "use crate::a::X;",                    ""),
        ];
        for (module, text, expected) in cases {
            let sources = [
                source("", "mod a; mod b; mod c; pub use c::{Exported, Other};"),
                source("b", ""),
                source("c", ""),
                source(module, text),
            ];
            let found: Vec<String> = edges(&sources)["a"].iter().cloned().collect();
            assert_eq!(found.join(" "), expected, "{module}: {text}");
        }
    }

    #[test]
    fn a_room_has_edges_of_its_own() {
        let sources = [
            source("a", ""),
            source("a::x", "use super::y; use crate::z;"),
            source("a::y", "use crate::a::z::T; use super::super::x;"),
            source("a::z", ""),
            source("x", "use crate::z;"),
            source("z", ""),
        ];
        let edges = edges(&room(&sources, "a"));
        let of = |name: &str| edges[name].iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!([of("x"), of("y"), of("z")], ["y", "z", ""]);
    }

    #[test]
    fn a_circle_over_three_modules_is_found() {
        let sources = [
            source("a", "use crate::b;"),
            source("b", "use crate::c;"),
            source("c", "use crate::a;"),
            source("d", "use crate::a;"),
        ];
        assert_eq!(circles(&edges(&sources)), [["a", "b", "c"]]);
    }
}
