//! Authentication and authorization.

use anyhow::{Result, ensure};
use e2e::eventually;

use crate::{
    client::{self, Asked},
    world::{DEADLINE, NAMESPACE, Operator, path, topology, world},
};

const SPEC: &str = "{forwarders: [{name: a}, {name: b}], shape: Line}";

pub(crate) fn reads_are_open_and_writes_are_not() -> Result<()> {
    let world = world()?;
    world
        .read("/apis/beemesh.io/v1alpha1/topologies")?
        .with(200)?;
    let gone = world.read(&path("nobody"))?.with(404)?;
    ensure!(
        gone.detail()? == "there is no topology plant/nobody",
        "{gone:?}"
    );
    let body = topology("open", SPEC);
    let put = |token| {
        world.ask(&Asked {
            method: "PUT",
            path: &path("open"),
            token,
            body: &body,
            ..Asked::default()
        })
    };
    let anonymous = put(None)?.with(401)?;
    ensure!(
        anonymous.headers["www-authenticate"] == "Bearer",
        "{anonymous:?}"
    );
    let unknown = put(Some("no-such-token"))?.with(401)?;
    ensure!(unknown.detail()?.contains("does not know"), "{unknown:?}");
    world.read(&path("open"))?.with(404)?;
    Ok(())
}

pub(crate) fn nobody_waits_for_the_body_of_a_caller_without_rights() -> Result<()> {
    let world = world()?;
    // Its own: who writes slowly takes the place of all others who write.
    let operator = Operator::start(&world.server, "slow", &[])?;
    let (topology, plan) = (path("slow"), format!("{}/plan", path("slow")));
    let asked = |method, path, token| Asked {
        method,
        path,
        token,
        ..Asked::default()
    };
    #[rustfmt::skip]
    let cases = [
        (asked("PUT",  &topology,   None),             401),
        (asked("PUT",  &topology,   Some("unknown")),  401),
        (asked("PUT",  &topology,   Some(&world.joe)), 403),
        (asked("POST", &plan,       None),             401),
        (asked("PUT",  "/loglevel", Some(&world.joe)), 403),
    ];
    for (asked, status) in &cases {
        // Announced and never sent.
        let mut stream = client::connect(operator.api)?;
        client::announce(&mut stream, asked, 1_000)?.with(*status)?;
    }
    // Those who may write, and are slow, keep nobody from reading.
    let slow: Vec<_> = (0..70)
        .map(|_| {
            let stream = client::connect(operator.api)?;
            let asked = asked("PUT", &topology, Some(world.jane.as_str()));
            client::send(&mut &stream, &asked, 1_000)?;
            anyhow::Ok(stream)
        })
        .collect::<Result<_>>()?;
    let read = asked("GET", "/apis/beemesh.io/v1alpha1/topologies", None);
    operator.ask(&read)?.with(200)?;
    drop(slow);
    Ok(())
}

pub(crate) fn who_lacks_a_right_is_told_which() -> Result<()> {
    let world = world()?;
    let body = topology("joes", SPEC);
    let ask = |method, path: &str| {
        let asked = Asked {
            method,
            path,
            token: Some(&world.joe),
            body: &body,
            ..Asked::default()
        };
        world.ask(&asked)?.with(403)?.detail()
    };
    let who = "user \"system:serviceaccount:plant:joe\" cannot";
    let what = "microservicetopologies.beemesh.io \"joes\" in the namespace \"plant\"";
    for (method, verb) in [("PUT", "patch"), ("DELETE", "delete")] {
        let detail = ask(method, &path("joes"))?;
        ensure!(detail == format!("{who} {verb} {what}"), "{detail}");
    }
    let detail = ask("POST", &format!("{}/plan", path("joes")))?;
    ensure!(detail == format!("{who} get {what}"), "{detail}");
    let detail = ask("PUT", "/loglevel")?;
    ensure!(
        detail == format!("{who} put path \"/loglevel\""),
        "{detail}"
    );
    Ok(())
}

pub(crate) fn writes_are_made_by_the_caller() -> Result<()> {
    let world = world()?;
    let applied = world.apply("mine", &topology("mine", SPEC))?.with(200)?;
    let stored = applied.json()?;
    ensure!(stored["spec"]["shape"] == "Line", "{stored:#}");
    let get = [
        "get",
        "mst",
        "mine",
        "-n",
        NAMESPACE,
        "-o",
        "json",
        "--show-managed-fields",
    ];
    let object = world.server.kubectl(&get)?.json()?;
    let managers = object["metadata"]["managedFields"].as_array();
    let is_ours = |entry: &&serde_json::Value| {
        entry["manager"] == "beemesh-rest" && entry["operation"] == "Apply"
    };
    ensure!(
        managers.is_some_and(|all| all.iter().any(|one| is_ours(&one))),
        "{object:#}"
    );
    let user = "system:serviceaccount:plant:jane";
    eventually("the audit log has the write", DEADLINE, || {
        let events = world.server.audit()?;
        let writes: Vec<_> = events
            .iter()
            .filter(|event| event.is_write() && event.resource == "microservicetopologies")
            .filter(|event| event.name == "mine" && event.subresource.is_empty())
            .collect();
        ensure!(!writes.is_empty(), "no write");
        ensure!(writes.iter().all(|event| event.user == user), "{writes:?}");
        Ok(())
    })
}

pub(crate) fn reads_need_a_token_where_the_operator_says_so() -> Result<()> {
    let world = world()?;
    let operator = Operator::start(&world.server, "closed", &["--anonymous-read=false"])?;
    let read = |path: &str, token| {
        operator.ask(&Asked {
            method: "GET",
            path,
            token,
            ..Asked::default()
        })
    };
    let all = "/apis/beemesh.io/v1alpha1/topologies";
    let some = "/apis/beemesh.io/v1alpha1/namespaces/plant/topologies";
    read(some, None)?.with(401)?;
    read(some, Some(&world.joe))?.with(403)?;
    read(some, Some(&world.jane))?.with(200)?;
    let detail = read(all, Some(&world.jane))?.with(403)?.detail()?;
    ensure!(
        detail.contains("cannot list microservicetopologies.beemesh.io at the cluster scope"),
        "{detail}"
    );
    read(all, Some(&world.root))?.with(200)?;
    read("/openapi.json", None)?.with(200)?;
    Ok(())
}
