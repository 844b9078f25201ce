//! Primary CNI configuration of the runtime, and our conflist derived from it. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cni::version::Version;
use serde_json::{Map, Value, json};

/// File name of our conflist: sorts before every numbered or lower-case name.
pub const FILE: &str = "00-beemesh.conflist";

/// Name to which Cilium renames our conflist in exclusive mode.
pub const SET_ASIDE: &str = "00-beemesh.conflist.cilium_bak";

/// Name of the plugin binary, and its `type` in a conflist.
pub const PLUGIN: &str = "beemesh-cni";

/// Plugins that derive their own conflist from the first one: with ours installed, from ours.
const MULTUS: [&str; 2] = ["multus", "multus-shim"];

/// Contents by file name, or the reason why a file is unreadable.
pub type Files = BTreeMap<OsString, Result<Vec<u8>, String>>;

/// Network configuration list, as JSON.
pub type List = Map<String, Value>;

/// Configuration that the runtime would use without ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primary {
    /// Conflist of this file; a single-plugin configuration is wrapped in one.
    Found(String, List),
    /// First file, and the reason why it is invalid. The runtime would fail on it too, so no later
    /// file is taken.
    Unusable(String, String),
    /// First file, whose plugin must not chain with ours, and the reason.
    Refused(String, String),
    /// No configuration except ours.
    Absent,
}

/// True when runtimes read a file of this name (libcni's `ConfFiles`: hidden ones too).
pub fn is_configuration(name: &OsStr) -> bool {
    let endings = [&b".conf"[..], b".conflist", b".json"];
    endings
        .iter()
        .any(|ending| name.as_bytes().ends_with(ending))
}

/// First configuration in byte order that is not ours.
pub fn choose(files: &Files) -> Primary {
    let is_other = |(name, _): &(&OsString, _)| is_configuration(name) && *name != FILE;
    let Some((name, content)) = files.iter().find(is_other) else {
        return Primary::Absent;
    };
    let shown = name.to_string_lossy().into_owned();
    let bytes = content.as_ref().map_err(Clone::clone);
    match bytes.and_then(|bytes| parse(name, bytes)) {
        Ok(list) if has_plugin(&list, &MULTUS) => {
            let why = "Multus takes the first configuration for its own; install the plugin only";
            Primary::Refused(shown, why.to_owned())
        }
        Ok(list) => Primary::Found(shown, list),
        Err(why) => Primary::Unusable(shown, why),
    }
}

/// File that sorts before ours, so that the runtime uses it instead.
pub fn displacing(files: &Files) -> Option<String> {
    let mut before = files.keys().take_while(|name| name.as_os_str() < FILE);
    let first = before.find(|name| is_configuration(name));
    first.map(|name| name.to_string_lossy().into_owned())
}

/// `list` with our plugin appended, unless it is in there already.
pub fn compose(list: &List, entry: &Value) -> Vec<u8> {
    let mut list = list.clone();
    if !has_plugin(&list, &[PLUGIN])
        && let Some(Value::Array(plugins)) = list.get_mut("plugins")
    {
        plugins.push(entry.clone());
    }
    let mut bytes = serde_json::to_vec_pretty(&list).expect("a JSON object has only string keys");
    bytes.push(b'\n');
    bytes
}

/// Our plugin's entry in a conflist: socket, state directory, and the capability for pods'
/// annotations.
pub fn entry(socket: &Path, state_dir: &Path) -> Value {
    json!({
        "type": PLUGIN,
        "socket": socket,
        "stateDir": state_dir,
        "capabilities": {cni::config::ANNOTATIONS: true},
    })
}

/// Foreign files that name our plugin: their owner has to remove it.
pub fn naming_us(files: &Files) -> Vec<String> {
    let names_us = |(name, content): &(&OsString, &Result<Vec<u8>, String>)| {
        let bytes = content.as_deref().unwrap_or_default();
        let list = parse(name, bytes);
        *name != FILE && list.is_ok_and(|list| has_plugin(&list, &[PLUGIN]))
    };
    let found = files.iter().filter(|(name, _)| is_configuration(name));
    let found = found.filter(names_us);
    found
        .map(|(name, _)| name.to_string_lossy().into())
        .collect()
}

/// Parses a file as libcni does: a `.conflist` is a list, any other file one plugin.
fn parse(name: &OsStr, bytes: &[u8]) -> Result<List, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err("not a JSON object".to_owned());
    };
    let list = match name.as_bytes().ends_with(b".conflist") {
        true => object,
        false => wrap(object)?,
    };
    validate(&list)?;
    Ok(list)
}

fn wrap(plugin: Map<String, Value>) -> Result<List, String> {
    if !plugin.get("type").is_some_and(Value::is_string) {
        return Err("no type".to_owned());
    }
    let heading = ["cniVersion", "cniVersions", "name"];
    let heading = heading.iter().filter_map(|key| plugin.get_key_value(*key));
    let mut list: List = heading
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    list.insert("plugins".to_owned(), json!([plugin]));
    Ok(list)
}

/// Checks that our plugin can be chained after the list.
fn validate(list: &List) -> Result<(), String> {
    let name = list.get("name").and_then(Value::as_str);
    if name.is_none_or(str::is_empty) {
        return Err("no name".to_owned());
    }
    let plugins = list.get("plugins").and_then(Value::as_array);
    let is_plugin = |plugin: &Value| plugin.get("type").is_some_and(Value::is_string);
    if !plugins.is_some_and(|plugins| !plugins.is_empty() && plugins.iter().all(is_plugin)) {
        return Err("no plugins".to_owned());
    }
    if !versions(list).any(|version| Version::parse(version).is_some()) {
        let ours = Version::ALL.map(Version::as_str).join(", ");
        let theirs = list.get("cniVersion").cloned().unwrap_or_default();
        return Err(format!(
            "cniVersion {theirs} is not supported, expected one of {ours}"
        ));
    }
    Ok(())
}

fn versions(list: &List) -> impl Iterator<Item = &str> {
    let several = list.get("cniVersions").and_then(Value::as_array);
    let all = list
        .get("cniVersion")
        .into_iter()
        .chain(several.into_iter().flatten());
    all.filter_map(Value::as_str)
}

fn has_plugin(list: &List, types: &[&str]) -> bool {
    let plugins = list.get("plugins").and_then(Value::as_array);
    let is_it = |plugin: &Value| {
        let found = plugin.get("type").and_then(Value::as_str);
        found.is_some_and(|found| types.contains(&found))
    };
    plugins.is_some_and(|plugins| plugins.iter().any(is_it))
}

#[cfg(test)]
pub(super) mod tests;
