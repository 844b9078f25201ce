//! `-f FILE`: valid topologies from a file or stdin.

use crate::failure::Failure;
use crate::nearest::did_you_mean;
use crds::{Instances, MicroServiceTopology, Problem};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use topology::{Fault, ForwarderIndex, LinkSelector, Topology};

/// `-f`, to be flattened into the arguments of a verb that takes one topology.
#[derive(Clone, Debug, clap::Args)]
pub struct Input {
    /// YAML file with one MicroServiceTopology; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE")]
    pub file: PathBuf,
}

/// Valid declaration, and its global topology.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The object as declared.
    pub object: MicroServiceTopology,
    /// Its graph, with one instance of each App.
    pub topology: Topology,
}

impl Input {
    /// Reads and checks the one topology in the file.
    ///
    /// # Errors
    /// [`Failure::Read`]; [`Failure::Invalid`] with all problems, or when the file holds another
    /// number of topologies than one.
    pub fn declared(&self) -> Result<Declared, Failure> {
        declared(&self.file)
    }
}

/// As [`Input::declared`], of `file`.
///
/// # Errors
/// As [`Input::declared`].
pub fn declared(file: &Path) -> Result<Declared, Failure> {
    let object = object(file)?;
    let invalid = |problems| invalid(&shown(file), problems);
    let topology = crds::to_topology(&object, &Instances::new()).map_err(invalid)?;
    Ok(Declared { object, topology })
}

/// Single, valid topology in `file`.
///
/// # Errors
/// As [`Input::declared`].
pub fn object(file: &Path) -> Result<MicroServiceTopology, Failure> {
    match <[MicroServiceTopology; 1]>::try_from(objects(file)?) {
        Ok([object]) => Ok(object),
        Err(objects) => {
            let (name, found) = (shown(file), objects.len());
            let message = format!("{name}: expected one MicroServiceTopology, found {found}");
            Err(Failure::Invalid(vec![message]))
        }
    }
}

/// Reads and checks every topology in `file`.
///
/// # Errors
/// [`Failure::Read`]; [`Failure::Invalid`] with all problems.
pub fn objects(file: &Path) -> Result<Vec<MicroServiceTopology>, Failure> {
    match check(file)? {
        (objects, problems) if problems.is_empty() => Ok(objects),
        (_, problems) => Err(invalid(&shown(file), problems)),
    }
}

/// Reads every topology in `file`, and returns all problems.
///
/// # Errors
/// [`Failure::Read`] when the file is unreadable.
pub fn check(file: &Path) -> Result<(Vec<MicroServiceTopology>, Vec<Problem>), Failure> {
    let name = shown(file);
    let read = if file == Path::new("-") {
        crds::read_limited(&name, io::stdin().lock())
    } else {
        crds::read_limited(&name, open(file)?)
    };
    let objects = match read {
        Ok(objects) => objects,
        Err(problems) => return Ok((Vec::new(), problems)),
    };
    if objects.is_empty() {
        let problem = Problem::new("", "expected a MicroServiceTopology, found nothing");
        return Ok((objects, vec![problem.in_file(&name)]));
    }
    let several = objects.len() > 1;
    let problems = objects.iter().flat_map(|object| {
        let file = match several {
            true => format!("{name} ({})", object.metadata.name),
            false => name.clone(),
        };
        crds::lint(object)
            .into_iter()
            .map(move |problem| problem.in_file(&file))
    });
    let problems = problems.collect();
    Ok((objects, problems))
}

fn open(file: &Path) -> Result<File, Failure> {
    let failure = |source| Failure::Read {
        file: shown(file),
        source,
    };
    let opened = File::open(file).map_err(failure)?;
    if opened.metadata().map_err(failure)?.is_dir() {
        let expected = io::Error::new(
            io::ErrorKind::IsADirectory,
            "is a directory, expected a file",
        );
        return Err(failure(expected));
    }
    Ok(opened)
}

/// Name of `file` in messages.
pub fn shown(file: &Path) -> String {
    match file.to_str() {
        Some("-") => "stdin".into(),
        _ => file.display().to_string(),
    }
}

fn invalid(file: &str, problems: Vec<Problem>) -> Failure {
    let named = |problem: Problem| match problem.file.is_empty() {
        true => problem.in_file(file).to_string(),
        false => problem.to_string(),
    };
    Failure::Invalid(problems.into_iter().map(named).collect())
}

/// The Forwarder called `name`.
///
/// # Errors
/// [`Failure::NotFound`] with a similar name.
pub fn forwarder(topology: &Topology, name: &str) -> Result<ForwarderIndex, Failure> {
    topology.forwarder(name).ok_or_else(|| {
        let hint = match topology.app(name) {
            Some(_) => "; it is an App".into(),
            None => did_you_mean(name, topology.forwarders().iter().map(String::as_str)),
        };
        Failure::NotFound(format!("no forwarder {name:?} in the topology{hint}"))
    })
}

/// Faults that `--without` names: `A/B` all links between the two, `A/B#2` one of them, `A` a Forwarder.
///
/// # Errors
/// [`Failure::NotFound`] with similar names.
pub fn faults(topology: &Topology, without: &[String]) -> Result<Vec<Fault>, Failure> {
    let mut faults = Vec::new();
    for text in without {
        if !text.contains('/') {
            faults.push(Fault::Forwarder(forwarder(topology, text)?));
            continue;
        }
        let selector = LinkSelector::parse(text)
            .map_err(|error| Failure::NotFound(format!("{error}, found {text:?}")))?;
        let (a, b) = selector.ends();
        let ends = (forwarder(topology, a)?, forwarder(topology, b)?);
        let links = topology.selected(&selector);
        if links.is_empty() {
            return Err(no_link(topology, text, ends));
        }
        faults.extend(links.into_iter().map(Fault::Link));
    }
    Ok(faults)
}

fn no_link(topology: &Topology, text: &str, ends: (ForwarderIndex, ForwarderIndex)) -> Failure {
    let between: Vec<String> = topology
        .links_between(ends.0, ends.1)
        .map(|link| topology.link_id(link))
        .collect();
    if !between.is_empty() {
        let hint = format!("between these two there are {}", between.join(", "));
        return Failure::NotFound(format!("no link {text:?} in the topology; {hint}"));
    }
    let neighbours = topology.links().iter().filter_map(|link| match link {
        _ if link.a == ends.0 => Some(link.b),
        _ if link.b == ends.0 => Some(link.a),
        _ => None,
    });
    let name = |index: ForwarderIndex| topology.forwarders()[index.position()].as_str();
    let mut names: Vec<&str> = neighbours.map(name).collect();
    names.dedup();
    let more = if names.len() > 8 { ", ..." } else { "" };
    names.truncate(8);
    let hint = match names.is_empty() {
        true => format!("{} has no links", name(ends.0)),
        false => format!("{} is linked to {}{more}", name(ends.0), names.join(", ")),
    };
    Failure::NotFound(format!("no link {text:?} in the topology; {hint}"))
}
