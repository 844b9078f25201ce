//! Lookup of a running pod's network namespace by its processes.
//!
//! The kubelet puts a pod's processes below a cgroup whose name holds `pod<uid>`: unchanged with
//! the cgroupfs driver, with `_` for `-` with systemd's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cni::node_protocol::NetnsId;

use crate::attach::key::PodNetns;

/// Upper bound in bytes of a process' cgroup file.
const MAX_BYTES: u64 = 64 << 10;

/// Network namespaces of the pods with these uids that have a running process. `proc` is `/proc` of
/// the host; `names` holds bind-mounted namespaces.
///
/// # Errors
/// `proc` cannot be read; a process that ends meanwhile is skipped.
pub fn find(proc: &Path, names: &Path, uids: &[&str]) -> io::Result<BTreeMap<String, PodNetns>> {
    let mut found: BTreeMap<String, PodNetns> = BTreeMap::new();
    let own = identity(&proc.join("self/ns/net")).or_else(|_| identity(Path::new(SELF)))?;
    let names = durable(names);
    let mut processes: Vec<u32> = fs::read_dir(proc)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable();
    for process in processes {
        let directory = proc.join(process.to_string());
        let Ok(cgroups) = read(&directory.join("cgroup")) else {
            continue;
        };
        let Some(uid) = uids.iter().find(|uid| is_of(&cgroups, uid)) else {
            continue;
        };
        let path = directory.join("ns/net");
        let Ok(id) = identity(&path) else { continue };
        if id == own {
            continue;
        }
        let is_durable = |found: &PodNetns| names.contains_key(&(found.id.device, found.id.inode));
        if found.get(*uid).is_some_and(is_durable) {
            continue;
        }
        let name = names.get(&(id.device, id.inode)).cloned();
        if name.is_some() || !found.contains_key(*uid) {
            let path = name.unwrap_or(path);
            found.insert((*uid).to_owned(), PodNetns { path, id });
        }
    }
    Ok(found)
}

const SELF: &str = "/proc/self/ns/net";

/// Named namespaces, by device and inode.
fn durable(names: &Path) -> BTreeMap<(u64, u64), PathBuf> {
    let entries = fs::read_dir(names).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let id = identity(&entry.path()).ok()?;
        Some(((id.device, id.inode), entry.path()))
    });
    named.collect()
}

fn identity(path: &Path) -> io::Result<NetnsId> {
    let metadata = fs::metadata(path)?;
    Ok(NetnsId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// True when a process with these cgroups belongs to the pod.
fn is_of(cgroups: &str, uid: &str) -> bool {
    let names = [format!("pod{uid}"), format!("pod{}", uid.replace('-', "_"))];
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
    let is_named = |name: &String| {
        let mut found = cgroups.match_indices(name.as_str());
        found.any(|(at, _)| ends(&cgroups[at + name.len()..]))
    };
    !uid.is_empty() && names.iter().any(is_named)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ONE: &str = "0b9c1a52-6d6f-4a0f-9d5a-2f7a7c1d0001";

    #[test]
    fn a_pods_processes_are_told_by_their_cgroup() {
        let underscored = ONE.replace('-', "_");
        #[rustfmt::skip]
        let cases = [
            (format!("0::/kubepods/burstable/pod{ONE}/5a1b"),                                  true),
            (format!("0::/kubepods.slice/kubepods-pod{underscored}.slice/cri-5a1b.scope"),     true),
            (format!("0::/../../kubepods-besteffort-pod{underscored}.slice/x"),                true),
            (format!("12:cpu,cpuacct:/kubepods/pod{ONE}/a\n11:pids:/kubepods/pod{ONE}/a\n"),   true),
            (format!("0::/kubepods/pod{ONE}2/5a1b"),                                           false),
            (format!("0::/kubepods/{ONE}"),                                                    false),
            ("0::/system.slice/containerd.service".to_owned(),                                 false),
            ("0::/\n".to_owned(),                                                              false),
        ];
        for (cgroups, expected) in cases {
            assert_eq!(is_of(&cgroups, ONE), expected, "{cgroups}");
        }
        assert!(!is_of("0::/kubepods/pod/x", ""));
        // The uid of a static pod is a hash.
        let hash = "8d5f8b0c2f6e4a7f9c1d3e5a7b9c0d1e";
        for cgroup in [
            format!("0::/kubepods/burstable/pod{hash}/c"),
            format!("0::/kubepods.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-c.scope"),
        ] {
            assert!(is_of(&cgroup, hash), "{cgroup}");
        }
    }

    /// Directory like /proc in which files stand for namespaces.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            for namespace in ["host", "named", "unnamed"] {
                fs::write(tree.at(namespace), "").unwrap();
            }
            fs::create_dir(tree.at("netns")).unwrap();
            fs::hard_link(tree.at("named"), tree.at("netns/cni-1")).unwrap();
            fs::create_dir(tree.at("netns/directory")).unwrap();
            tree.process("self", "0::/", Some("host"));
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn process(&self, process: &str, cgroups: &str, namespace: Option<&str>) {
            let directory = self.at("proc").join(process);
            fs::create_dir_all(directory.join("ns")).unwrap();
            fs::write(directory.join("cgroup"), cgroups).unwrap();
            if let Some(namespace) = namespace {
                symlink(self.at(namespace), directory.join("ns/net")).unwrap();
            }
        }

        fn find(&self, uids: &[&str]) -> BTreeMap<String, PodNetns> {
            find(&self.at("proc"), &self.at("netns"), uids).unwrap()
        }
    }

    #[test]
    fn a_durable_path_goes_before_that_of_a_process() {
        let tree = Tree::new();
        let cgroup = |uid: &str| format!("0::/kubepods/pod{uid}/c\n");
        tree.process("7", &cgroup("a"), None); // Ended meanwhile.
        tree.process("8", &cgroup("a"), Some("host")); // Joined the host's on purpose.
        tree.process("9", &cgroup("a"), Some("unnamed"));
        tree.process("10", &cgroup("a"), Some("named"));
        tree.process("11", &cgroup("a"), Some("unnamed"));
        tree.process("12", &cgroup("b"), Some("unnamed"));
        tree.process("13", &cgroup("c"), Some("host"));
        tree.process("14", "\u{fffd}", Some("named"));
        fs::create_dir_all(tree.at("proc/15")).unwrap();
        let found = tree.find(&["a", "b", "c", "d"]);
        let paths: Vec<_> = found
            .iter()
            .map(|(uid, found)| (&**uid, found.path.clone()))
            .collect();
        let process = tree.at("proc/12/ns/net");
        assert_eq!(paths, [("a", tree.at("netns/cni-1")), ("b", process)]);
    }

    #[test]
    fn real_processes_are_found_through_any_tree_that_shows_them() {
        // This process, shown as a pod's; its namespace is the test's own.
        let tree = Tree::new();
        let own = format!("/proc/{}/ns/net", std::process::id());
        let directory = tree.at("proc/4711/ns");
        fs::create_dir_all(&directory).unwrap();
        symlink(&own, directory.join("net")).unwrap();
        fs::write(
            tree.at("proc/4711/cgroup"),
            format!("0::/kubepods/pod{ONE}\n"),
        )
        .unwrap();
        let found = tree.find(&[ONE]);
        assert_eq!(found[ONE].id, identity(Path::new(&own)).unwrap());
        assert!(find(&tree.at("absent"), &tree.at("netns"), &[ONE]).is_err());
    }
}
