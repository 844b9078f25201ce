//! Permitted writes.

use anyhow::{Result, ensure};
use e2e::eventually;
use serde_json::{Value, json};

use crate::{
    client::{self, Asked},
    world::{DEADLINE, NAMESPACE, path, topology, world},
};

const SPEC: &str = "{forwarders: [{name: a}, {name: b}], shape: Line}";

pub(crate) fn what_is_wrong_is_refused_with_its_path() -> Result<()> {
    let world = world()?;
    #[rustfmt::skip]
    let cases = [
        // body                                                      path of the first error
        ("]".to_owned(),                                             ""),
        (topology("bad", "{forwarderz: []}"),                        "spec.forwarderz"),
        (topology("bad", "{forwarders: [{name: a}, {name: a}]}"),    "spec.forwarders[1].name"),
        (topology("bad", "{forwarders: [{name: a}], links: [{a: a, b: b}]}"), "spec.links[0].b"),
        (topology("other", SPEC),                                    "metadata.name"),
        ("{\"kind\": \"Pod\"}".to_owned(),                           "apiVersion"),
    ];
    for (body, expected) in cases {
        let answer = world.apply("bad", &body)?.with(422)?.json()?;
        ensure!(
            answer["errors"][0]["path"] == expected,
            "{body}: {answer:#}"
        );
        ensure!(answer["title"] == "Unprocessable Entity", "{answer:#}");
    }
    world.read(&path("bad"))?.with(404)?;
    Ok(())
}

pub(crate) fn the_api_server_has_the_last_word() -> Result<()> {
    let world = world()?;
    let long = format!(
        "{{name: long, annotations: {{note: {}}}}}",
        "x".repeat(300_000)
    );
    let body = topology("long", SPEC).replace("{name: long}", &long);
    let answer = world.apply("long", &body)?.with(422)?.json()?;
    let error = &answer["errors"][0];
    ensure!(error["path"] == "metadata.annotations", "{answer:#}");
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("Too long")),
        "{answer:#}"
    );
    world.apply("moved", &topology("moved", SPEC))?.with(200)?;
    let moved = SPEC.replacen('{', "{addressing: {cidrs: [10.99.0.0/16]}, ", 1);
    let moved = world
        .apply("moved", &topology("moved", &moved))?
        .with(422)?
        .json()?;
    ensure!(
        moved["errors"][0]["path"] == "spec.addressing.cidrs",
        "{moved:#}"
    );
    let nowhere = world.ask(&Asked {
        method: "PUT",
        path: &path("long").replace(NAMESPACE, "nowhere"),
        token: Some(&world.root),
        body: &topology("long", SPEC),
        ..Asked::default()
    })?;
    let detail = nowhere.with(404)?.detail()?;
    ensure!(detail == "namespaces \"nowhere\" not found", "{detail}");
    Ok(())
}

pub(crate) fn too_much_is_refused_before_it_is_read() -> Result<()> {
    let world = world()?;
    for (method, path) in [
        ("PUT", path("huge")),
        ("POST", format!("{}/plan", path("huge"))),
    ] {
        let asked = Asked {
            method,
            path: &path,
            token: Some(&world.jane),
            ..Asked::default()
        };
        let mut stream = client::connect(world.operator.api)?;
        let answer = client::announce(&mut stream, &asked, 100 << 20)?;
        world.operator.check(&asked, &answer.clone().with(413)?)?;
    }
    Ok(())
}

pub(crate) fn a_stale_version_and_others_fields_conflict() -> Result<()> {
    let world = world()?;
    let first = world
        .apply("shared", &topology("shared", SPEC))?
        .with(200)?;
    let tag = first.headers["etag"].clone();
    let put = |path: &str, if_match, shape: &str| {
        let body = topology("shared", &SPEC.replace("Line", shape));
        world.ask(&Asked {
            method: "PUT",
            path,
            token: Some(&world.jane),
            if_match,
            body: &body,
        })
    };
    // The operator writes the status meanwhile, which is a new version too.
    put(&path("shared"), Some("\"1\""), "Ring")?.with(409)?;
    let patch = json!({"spec": {"shape": "Mesh"}}).to_string();
    let patch = [
        "patch",
        "mst",
        "shared",
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    world.server.kubectl(&patch)?.ok()?;
    put(&path("shared"), Some(&tag), "Ring")?.with(409)?;
    let answer = put(&path("shared"), None, "Ring")?.with(409)?.json()?;
    ensure!(answer["errors"][0]["path"] == ".spec.shape", "{answer:#}");
    let forced = put(&format!("{}?force=true", path("shared")), None, "Ring")?.with(200)?;
    ensure!(forced.json()?["spec"]["shape"] == "Ring", "{forced:?}");
    put(&format!("{}?forse=true", path("shared")), None, "Ring")?.with(400)?;
    Ok(())
}

pub(crate) fn a_dry_run_keeps_nothing() -> Result<()> {
    let world = world()?;
    let asked = Asked {
        method: "PUT",
        path: &format!("{}?dryRun=true", path("dry")),
        token: Some(&world.jane),
        body: &topology("dry", SPEC),
        ..Asked::default()
    };
    world.ask(&asked)?.with(200)?;
    let get = world
        .server
        .kubectl(&["get", "mst", "dry", "-n", NAMESPACE])?;
    ensure!(get.stderr.contains("NotFound"), "{get:?}");
    Ok(())
}

pub(crate) fn what_is_read_can_be_sent_back() -> Result<()> {
    let world = world()?;
    world.apply("back", &topology("back", SPEC))?.with(200)?;
    world.computed("back")?;
    let changed = eventually("no other write comes between", DEADLINE, || {
        let mut object = world.read(&path("back"))?.with(200)?.json()?;
        object["spec"]["shape"] = "Ring".into();
        world.apply("back", &object.to_string())?.with(200)
    })?;
    let changed: Value = changed.json()?;
    ensure!(changed["spec"]["shape"] == "Ring", "{changed:#}");
    ensure!(
        changed["metadata"].get("managedFields").is_none(),
        "{changed:#}"
    );
    Ok(())
}

pub(crate) fn deletes_what_is_there_and_nothing_else() -> Result<()> {
    let world = world()?;
    world.apply("going", &topology("going", SPEC))?.with(200)?;
    let delete = |name: &str, if_match| {
        world.ask(&Asked {
            method: "DELETE",
            path: &path(name),
            token: Some(&world.jane),
            if_match,
            ..Asked::default()
        })
    };
    delete("going", Some("\"1\""))?.with(409)?;
    delete("going", None)?.with(204)?;
    eventually("the caches have seen it go", DEADLINE, || {
        world.read(&path("going"))?.with(404)
    })?;
    delete("going", None)?.with(404)?;
    delete("..%2f..%2fsecrets", None)?.with(422)?;
    Ok(())
}
