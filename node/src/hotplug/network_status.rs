//! Annotation `k8s.v1.cni.cncf.io/network-status` of pods (Network Plumbing Working Group, version
//! 1.3, section 5). Pure.

use serde_json::{Value, json};

use crate::attach::leases::Share;

/// Prefix of the names of our entries.
const PREFIX: &str = "beemesh/";

/// Annotation with these shares, foreign entries unchanged; `None` when it is up to date already,
/// or is no list of entries.
pub(super) fn merge(current: Option<&str>, shares: &[&Share]) -> Option<String> {
    let entries = match current.filter(|text| !text.trim().is_empty()) {
        None => Vec::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Array(entries)) => entries,
            _ => return None,
        },
    };
    let is_ours = |entry: &&Value| {
        let name = entry.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.starts_with(PREFIX))
    };
    let ours: Vec<Value> = shares.iter().map(|share| entry(share)).collect();
    let before: Vec<&Value> = entries.iter().filter(is_ours).collect();
    if before.len() == ours.len() && before.into_iter().eq(&ours) {
        return None;
    }
    let others = entries.iter().filter(|entry| !is_ours(entry)).cloned();
    Some(Value::Array(others.chain(ours).collect()).to_string())
}

fn entry(share: &Share) -> Value {
    let to = &share.attachment;
    let ips: Vec<String> = to.addresses.iter().map(|ip| ip.ip().to_string()).collect();
    json!({
        "name": format!("{PREFIX}{}", share.network()),
        "interface": to.pod_interface,
        "ips": ips,
        "mac": to.pod_mac,
        "default": false,
        "dns": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::leases::tests::share;

    #[test]
    fn others_entries_stay_and_ours_are_replaced() {
        let (iot, lab) = (share("iot", "10.0.0.2"), share("lab", "10.1.0.2"));
        let multus =
            r#"{"default":true,"dns":{},"extra":{"a":[1]},"interface":"eth0","name":"cbr0"}"#;
        let one = merge(None, &[&iot]).unwrap();
        let expected = json!([{"name": "beemesh/default/iot", "interface": "eth0",
            "ips": ["10.0.0.2"], "mac": "", "default": false, "dns": {}}]);
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), expected);
        assert_eq!(merge(Some(&one), &[&iot]), None, "nothing to say");
        let both = merge(Some(&format!("[{multus}]")), &[&iot, &lab]).unwrap();
        assert!(both.starts_with(&format!("[{multus},")), "{both}");
        let left = merge(Some(&both), &[&lab]).unwrap();
        assert!(left.contains(multus) && !left.contains("iot"), "{left}");
        let none = merge(Some(&left), &[]).unwrap();
        assert_eq!(none, format!("[{multus}]"));
        assert_eq!(merge(Some(&none), &[]), None);
        #[rustfmt::skip]
        let cases = [
            // current                shares     said
            (None,                    &[][..],   None),
            (Some(""),                &[][..],   None),
            (Some("[]"),              &[][..],   None),
            (Some(" "),               &[&iot],   Some(one.clone())),
            (Some("{}"),              &[&iot],   None), // Whatever it is, it is not ours.
            (Some("[{"),              &[&iot],   None),
            (Some(one.as_str()),      &[][..],   Some("[]".to_owned())),
        ];
        for (current, shares, expected) in cases {
            assert_eq!(merge(current, shares), expected, "{current:?}");
        }
    }
}
