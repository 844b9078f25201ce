//! Values that many Forwarders repeat, each held in memory once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use ipnetwork::IpNetwork;

use super::{ForwarderApp, ForwarderSpec};

/// Least number of values of one kind before unused ones are looked for.
const FEW: usize = 64;

/// Values of the Forwarders that a process holds: Apps, external prefixes, allowed namespaces.
///
/// Each Forwarder object repeats those of its topology. Decoded on its own, each would hold a copy.
#[derive(Debug, Default)]
pub struct SharedValues {
    apps: Values<ForwarderApp>,
    external: Values<Vec<IpNetwork>>,
    namespaces: Values<Vec<String>>,
}

impl SharedValues {
    /// Lets `spec` hold the equal values that were seen before in place of its own. Values that nobody else holds
    /// any more are dropped now and then.
    pub fn share(&mut self, spec: &mut ForwarderSpec) {
        spec.apps.iter_mut().for_each(|app| self.apps.share(app));
        self.external.share(&mut spec.external);
        self.namespaces.share(&mut spec.allowed_namespaces);
    }

    /// Number of different values.
    pub fn len(&self) -> usize {
        self.apps.all.len() + self.external.all.len() + self.namespaces.all.len()
    }

    /// True without any value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Values<T> {
    all: HashSet<Arc<T>>,
    /// Number of values after the last look for unused ones.
    used: usize,
}

impl<T> Default for Values<T> {
    fn default() -> Values<T> {
        Values {
            all: HashSet::new(),
            used: 0,
        }
    }
}

impl<T: Eq + Hash> Values<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        if let Some(held) = self.all.get(value.as_ref()) {
            *value = Arc::clone(held);
            return;
        }
        if self.all.len() >= FEW + 2 * self.used {
            self.all.retain(|held| Arc::strong_count(held) > 1);
            self.used = self.all.len();
        }
        self.all.insert(Arc::clone(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespace: &str, apps: [&str; 2]) -> ForwarderSpec {
        let app = |name: &str| ForwarderApp {
            name: name.to_owned(),
            selector: None,
            weight: 1,
            insist: false,
            attached: false,
            external: Vec::new(),
        };
        ForwarderSpec {
            apps: apps.map(app).map(Arc::new).into(),
            allowed_namespaces: Arc::new(vec![namespace.to_owned()]),
            ..ForwarderSpec::default()
        }
    }

    #[test]
    fn equal_values_are_held_once() {
        let mut values = SharedValues::default();
        let mut specs = [
            spec("x", ["a", "b"]),
            spec("x", ["a", "c"]),
            spec("y", ["b", "c"]),
        ];
        let before = specs.clone();
        specs.iter_mut().for_each(|spec| values.share(spec));
        assert_eq!(specs, before, "they are as they were");
        assert_eq!(values.len(), 3 + 1 + 2);
        let [one, other, third] = &specs;
        assert!(Arc::ptr_eq(
            &one.allowed_namespaces,
            &other.allowed_namespaces
        ));
        assert!(Arc::ptr_eq(&one.external, &third.external));
        assert!(Arc::ptr_eq(&one.apps[1], &third.apps[0]));
    }

    #[test]
    fn values_of_nobody_do_not_pile_up() {
        let mut values = SharedValues::default();
        let mut kept = spec("kept", ["a", "b"]);
        values.share(&mut kept);
        for number in 0..100 * FEW {
            let name = format!("n{number}");
            values.share(&mut spec(&name, [&name, "a"]));
        }
        assert!(values.len() < 10 * FEW, "{}", values.len());
        let mut again = spec("kept", ["a", "b"]);
        values.share(&mut again);
        assert!(Arc::ptr_eq(
            &kept.allowed_namespaces,
            &again.allowed_namespaces
        ));
    }
}
