use super::*;
use crate::config::Origin;

struct Node {
    directory: tempfile::TempDir,
    config: Config,
}

impl Node {
    /// On a thread of its own network namespace, as far as it may have one: those of other tests are not the node's.
    fn new() -> Node {
        let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut config = Config::new("n1", Origin::Directory(at("objects")));
        config.install_cni = InstallCni::Chained;
        config.state_dir = at("state");
        config.cache_dir = at("cache");
        config.run_dir = at("run");
        config.cni_bin_dir = at("bin");
        config.cni_conf_dir = at("net.d");
        config.boot_id = at("boot");
        for name in ["state/del", "cache/pods", "bin", "net.d", "run/link-states"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let node = Node { directory, config };
        let ours = [
            "state/namespaces.json",
            "state/known.json",
            "state/lock",
            "state/del/x.json",
            "cache/pods/a.json",
            "run/link-states/a.json",
            "bin/beemesh-cni",
            "bin/.beemesh-cni.7.0.tmp",
            "net.d/00-beemesh.conflist",
            "net.d/00-beemesh.conflist.cilium_bak",
        ];
        ours.iter().for_each(|name| node.write(name, "{}"));
        node
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => left.push(path),
                    false => all.push(
                        path.strip_prefix(&self.directory)
                            .unwrap()
                            .display()
                            .to_string(),
                    ),
                }
            }
        }
        all.sort();
        all
    }
}

#[test]
fn everything_of_ours_goes_and_nothing_else() {
    let node = Node::new();
    node.write("bin/ptp", "theirs");
    node.write("net.d/10-ptp.conflist", "theirs");
    let leftovers = Leftovers::find(&node.config);
    let before: u64 = leftovers.census().values().sum();
    assert_eq!(before, 10, "{:?}", leftovers.census());
    for _ in 0..2 {
        let failures = leftovers.remove();
        assert!(failures.is_empty(), "{failures:?}");
        assert!(
            leftovers.census().values().all(|left| *left == 0),
            "{:?}",
            leftovers.census()
        );
        assert_eq!(node.files(), ["bin/ptp", "net.d/10-ptp.conflist"]);
    }
}

#[test]
fn the_plugin_stays_where_a_list_of_others_names_it() {
    let node = Node::new();
    let by_hand = r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"beemesh-cni"}]}"#;
    node.write("net.d/10-a.conflist", by_hand);
    let leftovers = Leftovers::find(&node.config);
    leftovers.remove();
    assert_eq!(leftovers.census()["foreignConflists"], 1);
    assert_eq!(
        node.files(),
        [
            "bin/.beemesh-cni.7.0.tmp",
            "bin/beemesh-cni",
            "net.d/10-a.conflist"
        ]
    );
}

#[test]
fn what_was_not_installed_by_us_is_let_be() {
    let mut node = Node::new();
    node.config.install_cni = InstallCni::None;
    let leftovers = Leftovers::find(&node.config);
    leftovers.remove();
    assert_eq!(leftovers.census().values().sum::<u64>(), 0);
    assert!(node.directory.path().join("bin/beemesh-cni").exists());
    assert!(
        node.directory
            .path()
            .join("net.d/00-beemesh.conflist")
            .exists()
    );
}
