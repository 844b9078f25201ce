//! Golden topologies: `golden/<shape>/` has a drawing, the graph, and a story in steps: each
//! `NN-input` says what happens, the `NN-output` beside it what all tables are then.
//!
//! `UPDATE_GOLDEN=1 cargo test -p beemesh-topology golden` writes the outputs anew;
//! review the difference.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use topology::{
    AppSpec, AppliedChange, Change, ForwarderIndex, Graph, LinkIndex, LinkSpec, Shape, Spf, Table,
    Topology, shape,
};

#[test]
fn stories_end_as_they_did() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut shapes: Vec<String> = entries(&golden).iter().map(|path| name(path)).collect();
    shapes.sort_unstable();
    let mut expected: Vec<String> = Shape::ALL
        .iter()
        .map(|shape| shape.name().to_lowercase())
        .collect();
    expected.sort_unstable();
    assert_eq!(shapes, expected, "every shape has its story");
    for shape in shapes {
        tell(&golden.join(shape));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    entries
        .map(|entry| entry.expect("it is readable").path())
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("entries have names")
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tell(folder: &Path) {
    let topology = parse(&read(&folder.join("graph.txt")));
    assert!(!read(&folder.join("drawing.txt")).is_empty());
    let mut graph = Graph::new(&topology);
    let roots = (0..graph.forwarder_count() as u32).map(ForwarderIndex);
    let mut spfs: Vec<Spf> = roots.map(|root| Spf::compute(&graph, root)).collect();
    let mut inputs = entries(folder);
    inputs.retain(|path| name(path).ends_with("-input"));
    inputs.sort_unstable();
    assert!(!inputs.is_empty(), "{} has steps", folder.display());
    for input in inputs {
        let changes: Vec<AppliedChange> = read(&input)
            .lines()
            .filter_map(|line| apply(&topology, &mut graph, line))
            .collect();
        let mut output = String::new();
        writeln!(output, "epoch {}", graph.epoch()).unwrap();
        for spf in &mut spfs {
            spf.update(&graph, &changes);
            let full = Spf::compute(&graph, spf.root());
            let table = Table::new(&topology, &graph, spf, 64);
            assert_eq!(
                table,
                Table::new(&topology, &graph, &full, 64),
                "{}",
                input.display()
            );
            show(&mut output, &topology, &table);
        }
        let path = folder.join(name(&input).replace("-input", "-output"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, output).expect("the folder is writable");
        } else {
            assert_eq!(
                output,
                read(&path),
                "{} (UPDATE_GOLDEN=1 rewrites)",
                path.display()
            );
        }
    }
}

/// `shape Ring`, `forwarders A B C`, `link A B WEIGHT [BACK]`, `app NAME FORWARDER WEIGHT ...`.
fn parse(text: &str) -> Topology {
    let (mut forwarders, mut links, mut apps) = (Vec::new(), Vec::new(), Vec::new());
    let mut shape = Shape::Custom;
    let weight = |word: &str| -> u32 { word.parse().expect("weights are numbers") };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["shape", name] => shape = name.parse().expect("a shape"),
            ["forwarders", ref names @ ..] => {
                forwarders = names.iter().map(|name| name.to_string()).collect();
            }
            ["link", a, b, out, ref back @ ..] => links.push(LinkSpec {
                a: a.into(),
                b: b.into(),
                weight: weight(out),
                weight_back: weight(back.first().unwrap_or(&out)),
            }),
            ["app", name, ref at @ ..] => {
                let pairs = at
                    .chunks(2)
                    .map(|pair| (pair[0].to_string(), weight(pair[1])));
                apps.push(AppSpec {
                    name: name.into(),
                    attachments: pairs.collect(),
                });
            }
            _ => panic!("not understood: {line}"),
        }
    }
    links.extend(
        shape::links(shape, forwarders.len())
            .into_iter()
            .map(|(a, b)| LinkSpec {
                a: forwarders[a].clone(),
                b: forwarders[b].clone(),
                weight: 1,
                weight_back: 1,
            }),
    );
    Topology::new(forwarders, links, apps).expect("golden graphs are sound")
}

/// `down A/B`, `weigh A/B OUT BACK` (also up again), `lose A`, `return A`; `#` starts a comment.
fn apply(topology: &Topology, graph: &mut Graph, line: &str) -> Option<AppliedChange> {
    let link = |id| topology.link(id).unwrap_or_else(|| panic!("no link {id}"));
    let forwarder = |name| {
        topology
            .forwarder(name)
            .unwrap_or_else(|| panic!("no forwarder {name}"))
    };
    let weight = |word: &str| word.parse().expect("weights are numbers");
    let words: Vec<&str> = line.split_whitespace().collect();
    let change = match words[..] {
        [] | ["#", ..] => return None,
        ["down", id] => Change::Link {
            link: link(id),
            weights: None,
        },
        ["weigh", id, out, back] => Change::Link {
            link: link(id),
            weights: Some((weight(out), weight(back))),
        },
        ["lose", name] => Change::Forwarder {
            forwarder: forwarder(name),
            up: false,
        },
        ["return", name] => Change::Forwarder {
            forwarder: forwarder(name),
            up: true,
        },
        _ => panic!("not understood: {line}"),
    };
    Some(graph.change(change))
}

/// One line for each route: from, to, distance, links.
fn show(output: &mut String, topology: &Topology, table: &Table) {
    let from = &topology.forwarders()[table.from.position()];
    let ids = |links: &[LinkIndex]| -> Vec<String> {
        links.iter().map(|link| topology.link_id(*link)).collect()
    };
    for (to, index) in topology.forwarders().iter().zip(0..) {
        if let Some((route, links)) = table.to_forwarder(ForwarderIndex(index)) {
            writeln!(
                output,
                "{from} {to} {} {}",
                route.distance,
                ids(links).join(" ")
            )
            .unwrap();
        }
    }
    for (app, index) in topology.apps().iter().zip(0..) {
        if let Some((route, links)) = table.to_app(topology::AppIndex(index)) {
            let to = &app.name;
            let ids = if route.attached {
                "attached".into()
            } else {
                ids(links).join(" ")
            };
            writeln!(output, "{from} {to} {} {ids}", route.distance).unwrap();
        }
    }
}
