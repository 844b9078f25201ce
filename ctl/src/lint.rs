//! `beemesh lint`: everything that admission would refuse, offline.

use console::failure::Failure;
use console::input;
use console::output::Output;
use console::ttl;
use crds::Problem;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Prints one `ok` line for each topology, or every problem as FILE: FIELD: REASON on stderr and
exits 2. JSON: {\"ok\": false, \"topologies\": [{\"file\", \"name\", \"forwarders\", \"links\",
\"apps\"}], \"problems\": [{\"file\", \"path\", \"message\"}], \"warnings\": []}, warnings as problems: a path too
long for packets. They are on stderr too, and change no exit code.

Examples:
  beemesh lint -f examples/worked.yaml
  beemesh lint -f examples/
  beemesh generate ring --forwarders 5 | beemesh lint -f - -o json";

/// Arguments of `beemesh lint`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// YAML file, directory of YAML files, or `-` for stdin; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    topologies: Vec<Checked>,
    problems: Vec<Line>,
    /// Declarations that admission takes and that do not work everywhere.
    warnings: Vec<Line>,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    name: String,
    /// `None` with one for each node: the number is not in the file.
    forwarders: Option<usize>,
    links: Option<usize>,
    apps: usize,
}

#[derive(Serialize)]
struct Line {
    file: String,
    path: String,
    message: String,
}

/// Checks every file and reports all problems at once.
///
/// # Errors
/// [`Failure::Read`]; [`Failure::Invalid`] when there are problems.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let (mut topologies, mut warnings) = (Vec::new(), Vec::new());
    for file in files(&args.file)? {
        let (objects, found) = input::check(&file)?;
        let is_sound = found.is_empty();
        problems.extend(found);
        for object in objects.iter().filter(|_| is_sound) {
            let is_named = object.spec.forwarder_per_node.is_none();
            let too_large = crds::size::check_declared(object);
            problems.extend(too_large.map(|problem| problem.in_file(&input::shown(&file))));
            match crds::to_topology_on(object, &[], &crds::Instances::new()) {
                Ok(topology) => {
                    let name = &object.metadata.name;
                    warnings.extend(ttl::warning(&topology).map(|message| Line {
                        file: input::shown(&file),
                        path: "spec.links".to_owned(),
                        message: format!("{name}: {message}"),
                    }));
                    topologies.push(Checked {
                        file: input::shown(&file),
                        name: name.clone(),
                        forwarders: is_named.then(|| topology.forwarders().len()),
                        links: is_named.then(|| topology.links().len()),
                        apps: object.spec.apps.len(),
                    });
                }
                Err(found) => {
                    let name = input::shown(&file);
                    problems.extend(found.into_iter().map(|problem| problem.in_file(&name)));
                }
            }
        }
    }
    let failure = (!problems.is_empty())
        .then(|| Failure::Invalid(problems.iter().map(Problem::to_string).collect()));
    let line = |problem: Problem| {
        let Problem {
            file,
            path,
            message,
        } = problem;
        Line {
            file,
            path,
            message,
        }
    };
    let problems: Vec<Line> = problems.into_iter().map(line).collect();
    let report = Report {
        ok: problems.is_empty(),
        topologies,
        problems,
        warnings,
    };
    for Line { file, message, .. } in &report.warnings {
        console::terminal::say(&format!("warning: {file}: {message}"));
    }
    args.output.print(&report, table)?;
    failure.map_or(Ok(()), Err)
}

fn table(report: &Report) -> String {
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let line = |checked: &Checked| {
        let graph = match (checked.forwarders, checked.links) {
            (Some(forwarders), Some(links)) => {
                format!(
                    "{}, {}",
                    count(forwarders, "forwarder"),
                    count(links, "link")
                )
            }
            _ => "one forwarder on each matching node".into(),
        };
        let Checked {
            file, name, apps, ..
        } = checked;
        format!("{file}: {name} is ok: {graph}, {}\n", count(*apps, "app"))
    };
    report.topologies.iter().map(line).collect()
}

/// Selected files: a directory means the YAML files in it, sorted.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(yaml_files(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |source| Failure::Read {
        file: directory.display().to_string(),
        source,
    };
    let entries: Result<Vec<_>, _> = directory.read_dir().map_err(failure)?.collect();
    let is_yaml = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "yaml" || end == "yml")
    };
    let mut files: Vec<PathBuf> = entries
        .map_err(failure)?
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(is_yaml)
        .collect();
    files.sort();
    if files.is_empty() {
        let expected = format!(
            "{}: expected a directory with YAML files",
            directory.display()
        );
        return Err(Failure::Invalid(vec![expected]));
    }
    Ok(files)
}
