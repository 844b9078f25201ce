//! Which configuration the runtime would use without ours, and ours made from it. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cni::version::Version;
use serde_json::{Map, Value, json};

/// Our list: before everything that is numbered, or named in lower case.
pub const FILE: &str = "00-beemesh.conflist";

/// What Cilium makes of our list when it wants to be alone.
pub const SET_ASIDE: &str = "00-beemesh.conflist.cilium_bak";

/// The plugin's program, and the `type` that names it.
pub const PLUGIN: &str = "beemesh-cni";

/// Makes its own list from the first one: with ours there, from ours.
const MULTUS: [&str; 2] = ["multus", "multus-shim"];

/// The bytes of each file, or why it could not be read.
pub type Files = BTreeMap<OsString, Result<Vec<u8>, String>>;

/// A network configuration list, as far as it is read.
pub type List = Map<String, Value>;

/// What the runtime would use if ours were not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primary {
    /// The list of this file; a plain configuration is wrapped in one.
    Found(String, List),
    /// The first file, and why nothing can be made of it. The runtime would stumble over it too, so
    /// no later one is taken.
    Unusable(String, String),
    /// The first file is of one that must not find ours, and why.
    Refused(String, String),
    /// There is no configuration but ours.
    Absent,
}

/// Whether runtimes read a file of this name (libcni's `ConfFiles`: hidden ones too).
pub fn is_configuration(name: &OsStr) -> bool {
    let endings = [&b".conf"[..], b".conflist", b".json"];
    endings
        .iter()
        .any(|ending| name.as_bytes().ends_with(ending))
}

/// The first configuration in byte order that is not ours.
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

/// The file before ours, which the runtime takes instead.
pub fn displacing(files: &Files) -> Option<String> {
    let mut before = files.keys().take_while(|name| name.as_os_str() < FILE);
    let first = before.find(|name| is_configuration(name));
    first.map(|name| name.to_string_lossy().into_owned())
}

/// `list` with our plugin at its end, unless it is in it already.
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

/// Our plugin as a list has it: where the daemon is, and that it wants to see pods' annotations.
pub fn entry(socket: &Path, state_dir: &Path) -> Value {
    json!({
        "type": PLUGIN,
        "socket": socket,
        "stateDir": state_dir,
        "capabilities": {cni::config::ANNOTATIONS: true},
    })
}

/// Files of others that name our plugin: whoever wrote them has to take it out.
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

/// As libcni reads it: a `.conflist` is a list, everything else one plugin.
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

/// What our plugin can stand behind.
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
        return Err(format!("cniVersion {theirs} is none of {ours}"));
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
