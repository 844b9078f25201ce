//! One CNI call: the environment and stdin as a value.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::{Config, decode, is_name, version};
use crate::error::{Code, Error};
use crate::node_protocol::{Key, Pod};
use crate::version::Version;

/// Longest name of a network interface in bytes (`IFNAMSIZ` without its zero byte).
const MAX_INTERFACE_NAME: usize = 15;

/// A CNI call (CNI 1.1, section 2).
#[derive(Clone, Debug)]
pub enum Request {
    /// Attach a container.
    Add(Box<Container>),
    /// Detach a container.
    Del(Box<Container>),
    /// Is the container attached as the result said?
    Check(Box<Container>),
    /// GC: free attachments that are not in the configuration's list.
    Gc(Box<Config>),
    /// STATUS: readiness for an ADD.
    Status(Box<Config>),
    /// VERSION: supported versions.
    Version {
        /// Version of the runtime, if it is supported.
        asked: Version,
    },
}

/// Parameters of ADD, DEL and CHECK.
#[derive(Clone, Debug)]
pub struct Container {
    /// The network.
    pub config: Config,
    /// The attachment.
    pub key: Key,
    /// `CNI_NETNS`; always there for ADD and CHECK.
    pub netns: Option<PathBuf>,
    /// The pod, from `CNI_ARGS`.
    pub pod: Option<Pod>,
    /// The keys of `CNI_ARGS` that ask for an address: `IP`, `MAC`.
    pub wishes: Vec<String>,
}

impl Container {
    /// A wish for an IP or MAC address, by the name of its field, which no topology grants. Those of the whole list are another
    /// plugin's where one goes before; those of a capability are for us alone.
    pub fn wish(&self) -> Option<String> {
        let own = self.config.runtime_wish();
        let is_chained = self.config.prev_result.is_some();
        let of_list = || {
            let argument = self.wishes.first().map(|key| format!("CNI_ARGS {key}"));
            self.config.argument_wish().or(argument)
        };
        own.or_else(|| (!is_chained).then(of_list).flatten())
    }
}

/// A call that could not be understood, and the version to say so in.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Version of the answer.
    pub version: Version,
    /// Error.
    pub error: Error,
}

impl Request {
    /// Reads a call: `variable` looks up the environment, `stdin` reads the configuration and is
    /// called once the verb is known.
    ///
    /// # Errors
    /// A [`Failure`] for whatever the specification does not allow; never panics.
    pub fn parse(
        variable: impl Fn(&str) -> Option<OsString>,
        stdin: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Self, Failure> {
        let verb = text(&variable, "CNI_COMMAND").map_err(Failure::early)?;
        if verb == "VERSION" {
            // Runtimes have called VERSION with empty stdin; nothing on it could change the answer.
            let object = stdin()
                .ok()
                .and_then(|stdin| decode(&stdin).ok())
                .unwrap_or_default();
            return Ok(Self::Version {
                asked: version(&object).unwrap_or(Version::LATEST),
            });
        }
        if !["ADD", "DEL", "CHECK", "GC", "STATUS"].contains(&verb.as_str()) {
            let ours = "ADD, DEL, CHECK, GC, STATUS, VERSION";
            return Err(Failure::early(environment(
                "CNI_COMMAND",
                format!("is not supported, expected one of {ours}"),
            )));
        }
        let config = stdin().map_err(Failure::early)?;
        let config =
            Config::parse(&config).map_err(|(version, error)| Failure { version, error })?;
        let version = config.version;
        Self::of_verb(&verb, config, &variable).map_err(|error| Failure { version, error })
    }

    fn of_verb(
        verb: &str,
        config: Config,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        match verb {
            "GC" | "STATUS" => {
                since(Version::V1_1_0, verb, &config)?;
                config.validate()?;
                let config = Box::new(config);
                Ok(if verb == "GC" {
                    Self::Gc(config)
                } else {
                    Self::Status(config)
                })
            }
            "DEL" => Ok(Self::Del(Box::new(Container {
                // What cannot be read must not be in the way of a DEL.
                pod: pod(variable).unwrap_or_default(),
                wishes: Vec::new(),
                netns: variable("CNI_NETNS")
                    .filter(|path| !path.is_empty())
                    .map(PathBuf::from),
                key: key(&config, variable)?,
                config,
            }))),
            _ => {
                if verb == "CHECK" {
                    since(Version::V0_4_0, verb, &config)?;
                }
                config.validate()?;
                let container = Box::new(Container {
                    pod: pod(variable)?,
                    wishes: wishes(variable)?,
                    netns: Some(text(variable, "CNI_NETNS")?.into()),
                    key: key(&config, variable)?,
                    config,
                });
                Ok(if verb == "ADD" {
                    Self::Add(container)
                } else {
                    Self::Check(container)
                })
            }
        }
    }

    /// The version to answer in.
    pub fn version(&self) -> Version {
        match self {
            Self::Add(container) | Self::Del(container) | Self::Check(container) => {
                container.config.version
            }
            Self::Gc(config) | Self::Status(config) => config.version,
            Self::Version { asked } => *asked,
        }
    }
}

impl Failure {
    fn early(error: Error) -> Self {
        Self {
            version: Version::LATEST,
            error,
        }
    }
}

fn since(first: Version, verb: &str, config: &Config) -> Result<(), Error> {
    if config.version >= first {
        return Ok(());
    }
    let details = format!(
        "{verb} is of {}, asked in {}",
        first.as_str(),
        config.version.as_str()
    );
    Err(Error::new(Code::IncompatibleVersion, details))
}

fn key(config: &Config, variable: &impl Fn(&str) -> Option<OsString>) -> Result<Key, Error> {
    let container_id = text(variable, "CNI_CONTAINERID")?;
    if !is_name(&container_id) {
        return Err(environment(
            "CNI_CONTAINERID",
            "is not [a-zA-Z0-9][a-zA-Z0-9_.-]*",
        ));
    }
    let ifname = text(variable, "CNI_IFNAME")?;
    if !is_interface_name(&ifname) {
        return Err(environment("CNI_IFNAME", "is no name of an interface"));
    }
    Ok(Key {
        container_id,
        ifname,
        network: config.name.clone(),
    })
}

/// The pairs of `CNI_ARGS` (`KEY=VALUE;...`).
fn arguments(variable: &impl Fn(&str) -> Option<OsString>) -> Result<Vec<(String, String)>, Error> {
    let arguments = text_or_empty(variable, "CNI_ARGS")?;
    let pairs = arguments.split(';').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(environment("CNI_ARGS", format!("has {pair:?} without ="))),
    };
    pairs.map(pair).collect()
}

/// The keys of `CNI_ARGS` that ask for an address (CNI conventions).
fn wishes(variable: &impl Fn(&str) -> Option<OsString>) -> Result<Vec<String>, Error> {
    let is_wish =
        |(key, value): &(String, String)| matches!(&**key, "IP" | "MAC") && !value.is_empty();
    let wishes = arguments(variable)?.into_iter().filter(is_wish);
    Ok(wishes.map(|(key, _)| key).collect())
}

/// The pod of `CNI_ARGS`; keys that we do not know are other plugins'.
fn pod(variable: &impl Fn(&str) -> Option<OsString>) -> Result<Option<Pod>, Error> {
    let (mut namespace, mut name, mut uid) = (None, None, None);
    for (key, value) in arguments(variable)? {
        match &*key {
            "K8S_POD_NAMESPACE" => namespace = Some(value),
            "K8S_POD_NAME" => name = Some(value),
            "K8S_POD_UID" => uid = Some(value),
            _ => {}
        }
    }
    Ok(namespace.zip(name).map(|(namespace, name)| Pod {
        namespace,
        name,
        uid,
    }))
}

/// True for a name that the kernel accepts (`dev_valid_name`), of printable bytes only.
fn is_interface_name(name: &str) -> bool {
    (1..=MAX_INTERFACE_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte))
}

fn text(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Result<String, Error> {
    match text_or_empty(variable, name)? {
        value if value.is_empty() => Err(environment(name, "is missing or empty")),
        value => Ok(value),
    }
}

fn text_or_empty(
    variable: &impl Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<String, Error> {
    let value = variable(name).unwrap_or_default().into_string();
    value.map_err(|_| environment(name, "is not UTF-8"))
}

fn environment(name: &str, problem: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidEnvironment, format!("{name} {problem}"))
}
