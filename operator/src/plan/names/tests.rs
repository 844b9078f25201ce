use std::iter;

use super::{slices::Family, *};

fn pod(app: &str, namespace: &str, name: &str, addresses: &[&str]) -> AttachedPod {
    AttachedPod {
        app: app.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        node: "n1".to_owned(),
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
    }
}

fn world(pods: Vec<AttachedPod>) -> NamesWorld {
    NamesWorld {
        namespace: "plant".to_owned(),
        topology: "iot".to_owned(),
        uid: "t1".to_owned(),
        pods,
        ..NamesWorld::default()
    }
}

/// `count` pods of App `web`, each with one address of both families.
fn many(count: usize) -> Vec<AttachedPod> {
    let addresses = |number: usize| {
        let (high, low) = (number / 250, number % 250 + 1);
        [format!("10.80.{high}.{low}"), format!("fd00::{number:x}")]
    };
    (1..=count)
        .map(|number| {
            let [v4, v6] = addresses(number);
            pod("web", "plant", &format!("web-{number}"), &[&v4, &v6])
        })
        .collect()
}

impl NamesWorld {
    /// Does what `plan` says, as the API server would. How much was written.
    fn carry_out(&mut self, plan: &NamesPlan) -> usize {
        let mut written = plan.delete_services.len() + plan.delete_slices.len();
        let is_left = |object: &ObjectMeta, deletes: &[Delete]| {
            !deletes
                .iter()
                .any(|delete| object.uid.as_ref() == Some(&delete.uid))
        };
        self.services
            .retain(|object| is_left(object.meta(), &plan.delete_services));
        self.slices
            .retain(|object| is_left(object.meta(), &plan.delete_slices));
        for name in &plan.names {
            written += usize::from(name.write.is_some()) + name.slices.len();
            name.write
                .iter()
                .for_each(|write| put(&mut self.services, write));
            name.slices
                .iter()
                .for_each(|write| put(&mut self.slices, write));
        }
        written
    }

    /// Plans and carries out until nothing is left to do. How much was written.
    fn settle(&mut self) -> usize {
        let written = (0..9)
            .map(|_| {
                let plan = names(self);
                self.carry_out(&plan)
            })
            .sum();
        assert!(names(self).is_settled(), "{:?}", names(self));
        written
    }

    /// Sizes of the slices of one family.
    fn sizes(&self, family: Family) -> Vec<usize> {
        let slices = self.slices.iter();
        let slices = slices.filter(|slice| slice.address_type == family.word());
        slices.map(|slice| slice.endpoints.len()).collect()
    }

    fn service_names(&self) -> Vec<String> {
        self.services
            .iter()
            .map(|service| service.name_any())
            .collect()
    }
}

fn put<T: ResourceExt + Clone>(there: &mut Vec<Arc<T>>, write: &Write<T>) {
    let object = match write {
        Write::Create(object) => {
            let mut object = object.clone();
            object.meta_mut().uid = Some(format!("uid of {}", object.name_any()));
            assert!(
                there
                    .iter()
                    .all(|other| other.name_any() != object.name_any())
            );
            object
        }
        Write::Apply(object) => {
            assert!(object.uid().is_some(), "no precondition");
            there.retain(|other| other.uid() != object.uid());
            object.clone()
        }
    };
    there.push(Arc::new(object));
    there.sort_by_key(|object| object.name_any());
}

#[test]
fn an_app_with_pods_is_found_by_name_and_each_pod_by_its_own() {
    let mut world = world(vec![
        pod("sensors", "plant", "a", &["10.80.0.2", "fd00::2"]),
        pod("sensors", "plant", "b.c", &["10.80.0.3"]),
        pod("sensors", "guests", "a", &["10.80.0.4"]),
    ]);
    world.settle();
    assert_eq!(world.service_names(), ["iot-sensors"]);
    let spec = world.services[0].spec.as_ref().expect("it has a spec");
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    assert_eq!(spec.selector, None);
    assert_eq!(world.sizes(Family::V4), [3]);
    assert_eq!(world.sizes(Family::V6), [1]);
    let hostnames: Vec<Option<&str>> = world.slices[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.hostname.as_deref())
        .collect();
    // Of two pods named `a` the one of the topology's own namespace; `b.c` is no label of DNS.
    assert_eq!(hostnames, [Some("a"), None, None]);
}

#[test]
fn what_the_api_server_refuses_keeps_nobody_else_out() {
    let bad = [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.1.1",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "ff02::1",
    ];
    let mut world = world(vec![
        pod("web", "plant", "bad", &bad),
        pod("web", "plant", "good", &["10.80.0.2"]),
    ]);
    world.settle();
    assert_eq!(world.sizes(Family::V4), [1]);
    assert_eq!(world.sizes(Family::V6), [0; 0]);
}

#[test]
fn slices_are_of_a_hundred_and_few_are_written_when_one_pod_changes() {
    let mut world = world(many(250));
    assert_eq!(world.settle(), 1 + 2 * 3);
    assert_eq!(world.sizes(Family::V4), [100, 100, 50]);
    assert_eq!(world.settle(), 0, "nothing has changed");
    world.pods.remove(17);
    assert_eq!(world.settle(), 2, "one slice of each family");
    world.pods.push(pod("web", "plant", "late", &["10.80.9.9"]));
    assert_eq!(world.settle(), 1);
    assert_eq!(world.sizes(Family::V4), [100, 100, 50]);
    world.pods = many(10);
    world.settle();
    assert_eq!(world.sizes(Family::V4), [10]);
}

#[test]
fn nothing_is_left_of_an_app_without_pods() {
    let mut world = world(many(3));
    world.pods.push(pod("db", "plant", "db-0", &["10.80.7.7"]));
    world.settle();
    assert_eq!(world.service_names(), ["iot-db", "iot-web"]);
    world.pods.retain(|pod| pod.app == "db");
    world.settle();
    assert_eq!(world.service_names(), ["iot-db"]);
    world.pods.clear();
    world.settle();
    assert!(world.services.is_empty() && world.slices.is_empty());
}

#[test]
fn a_service_of_somebody_else_is_left_alone() {
    let mut world = world(many(1));
    let mut foreign = world.service("web", "iot-web");
    foreign.metadata.owner_references = None;
    foreign.metadata.uid = Some("theirs".to_owned());
    world.services.push(Arc::new(foreign));
    let plan = names(&world);
    assert!(plan.is_settled(), "{plan:?}");
    let expected = ("web".to_owned(), "iot-web".to_owned());
    assert_eq!(plan.foreign, [expected]);
}

#[test]
fn a_name_that_another_topology_has_gets_a_hash_and_keeps_it() {
    let mut world = world(many(1));
    world.taken.insert("iot-web".to_owned());
    world.settle();
    let hashed = crds::names::service_hashed("iot", "web");
    assert_eq!(world.service_names(), std::slice::from_ref(&hashed));
    world.taken.clear();
    assert_eq!(world.settle(), 0);
    assert_eq!(world.service_names(), [hashed]);
}

#[test]
fn what_a_former_topology_left_goes_first() {
    let mut world = world(many(1));
    world.settle();
    world.uid = "t2".to_owned();
    let plan = names(&world);
    assert!(plan.names.is_empty(), "its Service is in the way: {plan:?}");
    assert_eq!(plan.delete_services.len(), 1);
    assert_eq!(plan.delete_slices.len(), 2);
    world.settle();
    assert_eq!(controller(world.services[0].meta()), Some(&world.uid));
}

#[test]
fn edits_of_others_are_undone_and_their_additions_stay() {
    let mut world = world(many(2));
    world.settle();
    let edit = |world: &mut NamesWorld, edit: fn(&mut EndpointSlice)| {
        let mut slice = world.slices[0].as_ref().clone();
        edit(&mut slice);
        world.slices[0] = Arc::new(slice);
        world.settle()
    };
    let labels = |slice: &mut EndpointSlice| {
        let more = ("team".to_owned(), "network".to_owned());
        slice.labels_mut().extend(iter::once(more));
    };
    assert_eq!(edit(&mut world, labels), 0);
    assert_eq!(edit(&mut world, |slice| slice.endpoints.clear()), 1);
    let hostname = |slice: &mut EndpointSlice| slice.endpoints[0].hostname = Some("x".to_owned());
    assert_eq!(edit(&mut world, hostname), 1);
}
