//! The network configuration on stdin.
//!
//! The `cni-plugin` crate's `NetworkConfig` does the reading. It refuses what real configurations hold
//! (`ipam: {}`, the protocol `sctp`) and drops what it does not know inside `runtimeConfig` and
//! `dns`, so those parts, which we do not act on, are taken out before it looks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cni_plugin::config::NetworkConfig;
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::node_protocol::{DEFAULT_SOCKET, DEFAULT_STATE_DIR};
use crate::version::Version;

/// Largest configuration that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// Longest path of a unix socket (`sun_path` and its closing zero byte).
const MAX_SOCKET_PATH: usize = 107;

/// Key of a pod's annotations in the CRI's `runtimeConfig`, when the conflist asks for that
/// capability.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// A network configuration, as far as every verb needs it.
#[derive(Clone, Debug)]
pub struct Config {
    /// `cniVersion`: the version to answer in.
    pub version: Version,
    /// `name`: the network.
    pub name: String,
    /// `prevResult` as it came; absent when missing or `null`.
    pub prev_result: Option<Value>,
    args: Value,
    runtime: Value,
    ipam: Value,
    specific: BTreeMap<String, Value>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Code::Decode`], [`Code::IncompatibleVersion`] or [`Code::InvalidConfig`], in this order,
    /// with the version to answer in.
    pub fn parse(stdin: &[u8]) -> Result<Self, (Version, Error)> {
        let mut object = decode(stdin).map_err(|error| (Version::LATEST, error))?;
        let version = version(&object).map_err(|error| (Version::LATEST, error))?;
        let mut take = |key| object.remove(key).unwrap_or(Value::Null);
        let (args, ipam) = (take("args"), take("ipam"));
        let (runtime, prev_result) = (take("runtimeConfig"), take("prevResult"));
        take("dns");
        take("ipMasq");
        let config: NetworkConfig = serde_json::from_value(Value::Object(object))
            .map_err(|error| (version, Error::new(Code::InvalidConfig, error)))?;
        if config.name.is_empty() {
            return Err((version, Error::new(Code::InvalidConfig, "name is empty")));
        }
        Ok(Self {
            version,
            name: config.name,
            prev_result: Some(prev_result).filter(|value| !value.is_null()),
            args,
            runtime,
            ipam,
            specific: config.specific.into_iter().collect(),
        })
    }

    /// Checks that an ADD needs beyond [`Config::parse`]; a DEL must not fail on them.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] or [`Code::UnsupportedField`].
    pub fn validate(&self) -> Result<(), Error> {
        if !is_name(&self.name) {
            return invalid(format!(
                "name {:?} is not [a-zA-Z0-9][a-zA-Z0-9_.-]*",
                self.name
            ));
        }
        if let Some(plugin) = self.ipam.get("type") {
            let details = format!("ipam.type {plugin}: addresses come from the topology");
            return Err(Error::new(Code::UnsupportedField, details));
        }
        self.topology()?;
        self.socket().and(self.state_dir()).map(drop)
    }

    /// `socket`: where the node listens.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when it is not an absolute path of at most 107 bytes.
    pub fn socket(&self) -> Result<PathBuf, Error> {
        let path = self.path("socket", DEFAULT_SOCKET)?;
        match path.as_os_str().len() <= MAX_SOCKET_PATH {
            true => Ok(path),
            false => invalid(format!("socket is longer than {MAX_SOCKET_PATH} bytes")),
        }
    }

    /// `stateDir`: where records outlive the plugin.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when it is not an absolute path.
    pub fn state_dir(&self) -> Result<PathBuf, Error> {
        self.path("stateDir", DEFAULT_STATE_DIR)
    }

    /// `topology`: the only one that is to be joined, `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when it is anything else.
    pub fn topology(&self) -> Result<Option<String>, Error> {
        let is_pair = |text: &str| {
            let pair = text.split_once('/');
            pair.is_some_and(|(namespace, name)| is_name(namespace) && is_name(name))
        };
        match self.specific.get("topology") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_pair(text) => Ok(Some(text.clone())),
            Some(other) => invalid(format!("topology {other} is not NAMESPACE/NAME")),
        }
    }

    /// `args.cni.labels` (CNI conventions): a list of `{key, value}`.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when it is another shape.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, Error> {
        let labels = match self.args.pointer("/cni/labels") {
            None | Some(Value::Null) => return Ok(BTreeMap::new()),
            Some(Value::Array(labels)) => labels,
            Some(_) => return invalid("args.cni.labels is not a list"),
        };
        let pair = |label: &Value| {
            let text = |key| label.get(key)?.as_str().map(str::to_owned);
            Some((text("key")?, text("value")?))
        };
        let labels: Option<_> = labels.iter().map(pair).collect();
        labels.map_or_else(
            || invalid("args.cni.labels has an entry without key or value"),
            Ok,
        )
    }

    /// A wish for an address in `runtimeConfig`, which only plugins get that declare the capability.
    pub(crate) fn runtime_wish(&self) -> Option<String> {
        wish(&self.runtime).map(|key| format!("runtimeConfig.{key}"))
    }

    /// A wish for an address in `args.cni` (CNI conventions), which every plugin of a list gets.
    pub(crate) fn argument_wish(&self) -> Option<String> {
        let wish = wish(self.args.get("cni")?);
        wish.map(|key| format!("args.cni.{key}"))
    }

    /// The pod's annotations, where the runtime hands them on. What is not text is left out.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let annotations = self.runtime.get(ANNOTATIONS).and_then(Value::as_object);
        let pairs = annotations.into_iter().flatten();
        pairs
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// `cni.dev/valid-attachments` as container id and interface name; the older
    /// `cni.dev/attachments` is understood too. `null` is what Go writes for none.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when there is no list or any entry is malformed: nothing may be
    /// freed on a guess.
    pub fn valid_attachments(&self) -> Result<Vec<(String, String)>, Error> {
        let key = "cni.dev/valid-attachments";
        let list = self
            .specific
            .get(key)
            .or_else(|| self.specific.get("cni.dev/attachments"));
        let list = match list {
            Some(Value::Array(list)) => list.as_slice(),
            Some(Value::Null) => &[],
            Some(_) => return invalid(format!("{key} is not a list")),
            None => return invalid(format!("{key} is missing")),
        };
        let pair = |entry: &Value| {
            let text = |key| entry.get(key)?.as_str().filter(|text| !text.is_empty());
            Some((text("containerID")?.to_owned(), text("ifname")?.to_owned()))
        };
        let list: Option<_> = list.iter().map(pair).collect();
        list.map_or_else(
            || invalid(format!("{key}: an entry lacks containerID or ifname")),
            Ok,
        )
    }

    fn path(&self, key: &str, default: &str) -> Result<PathBuf, Error> {
        match self.specific.get(key) {
            None | Some(Value::Null) => Ok(default.into()),
            Some(Value::String(path)) if path.starts_with('/') && !path.contains('\0') => {
                Ok(path.into())
            }
            Some(_) => invalid(format!("{key} is not an absolute path")),
        }
    }
}

/// The version that a configuration asks for; also for verbs that read nothing else of it.
pub(crate) fn version(object: &Map<String, Value>) -> Result<Version, Error> {
    match object.get("cniVersion") {
        Some(Value::String(text)) => Version::parse(text).ok_or_else(|| {
            let ours = Version::ALL.map(Version::as_str).join(", ");
            let details = format!("cniVersion {text:?} is not supported, expected one of {ours}");
            Error::new(Code::IncompatibleVersion, details)
        }),
        // Configurations without a version are those of 0.2.0 and before.
        None => Err(Error::new(
            Code::IncompatibleVersion,
            "cniVersion is missing",
        )),
        Some(_) => invalid("cniVersion is not a string"),
    }
}

/// Stdin as a JSON object.
pub(crate) fn decode(stdin: &[u8]) -> Result<Map<String, Value>, Error> {
    if stdin.len() > MAX_BYTES {
        let details = format!("stdin has more than {MAX_BYTES} bytes");
        return Err(Error::new(Code::Decode, details));
    }
    match serde_json::from_slice(stdin) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => invalid("stdin is not a JSON object"),
        Err(error) => Err(Error::new(Code::Decode, error)),
    }
}

/// The key by which `object` asks for an address; empty values are none.
fn wish(object: &Value) -> Option<&'static str> {
    let is_asked = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    ["ips", "mac"]
        .into_iter()
        .find(|key| object.get(key).is_some_and(is_asked))
}

/// Names of networks and containers: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn invalid<T>(details: impl std::fmt::Display) -> Result<T, Error> {
    Err(Error::new(Code::InvalidConfig, details))
}
