//! Manual additions to derived objects.

use anyhow::{Context, Result};
use e2e::{ApiServer, ensure, eventually};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON, ring};
use crate::cluster::{Kind, NAMESPACE};
use crate::snapshot::{names, settled};

const EDITED: &str = "iot.f0";

pub(crate) fn added_by_hand() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 3)?;
    bed.replica(&[])?;
    bed.replica(&[])?;
    let mut declared = ring(&[0, 1, 2]);
    let selector = json!({"matchLabels": {"app": "web"}});
    declared["apps"] = json!([{"name": "web", "podSelector": selector}]);
    bed.apply("iot", &declared)?;
    settled(&mut bed, &names(["iot"]))?;

    let before = spec(&bed)?;
    let (links, apps) = (&before["links"], &before["apps"]);
    let one_more = |list: &Value, entry: Value| {
        let list = list.as_array().into_iter().flatten().cloned();
        Value::from_iter(list.chain([entry]))
    };
    let link = json!({"id": "f0/zz", "peer": "zz", "peerNode": "n1", "weight": 1, "weightBack": 1, "type": "Veth"});
    let mut narrowed = links.clone();
    narrowed[0]["mtu"] = json!(1300);
    let mut widened = apps.clone();
    widened[0]["allowedNamespaces"] = json!(["theirs"]);
    let edits = [
        json!({"links": one_more(links, link)}),
        json!({"links": narrowed}),
        json!({"apps": one_more(apps, json!({"name": "theirs", "weight": 1}))}),
        json!({"apps": widened}),
        json!({"external": ["192.0.2.0/24"]}),
    ];
    for edit in edits {
        let patch = json!({"spec": edit});
        bed.cluster
            .merge(Kind::Forwarder, NAMESPACE, EDITED, &patch)?;
        eventually("the edit is undone", SOON, || {
            let now = spec(&bed)?;
            ensure(now == before, || format!("{now} after {edit}"))
        })
        .map_err(|error| bed.explain(error))?;
    }
    settled(&mut bed, &names(["iot"])).map(drop)
}

fn spec(bed: &Bed) -> Result<Value> {
    let found = bed.cluster.get(Kind::Forwarder, NAMESPACE, EDITED)?;
    Ok(found.context("it is there")?["spec"].clone())
}
