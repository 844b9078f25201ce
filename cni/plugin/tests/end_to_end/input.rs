//! Input that no runtime should send.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::lab::{plugin, run};

const CONFIG: &str = r#"{"cniVersion":"1.1.0","name":"mesh","type":"beemesh-cni"}"#;

fn call(environment: &[(&str, &str)]) -> Command {
    let mut command = plugin();
    let usual = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/bmcni-absent"),
        ("CNI_IFNAME", "eth0"),
    ];
    command.envs(usual).envs(environment.iter().copied());
    command
}

pub(crate) fn malformed_input_is_answered_with_its_code() {
    let large = format!(
        r#"{{"cniVersion":"1.1.0","name":"{}"}}"#,
        "x".repeat(10_000_000)
    );
    let deep = format!(r#"{{"cniVersion":"1.1.0","a":{}"#, "[".repeat(1_000_000));
    let with = |more: &str| format!("{},{more}}}", CONFIG.trim_end_matches('}'));
    let version = |version: &str| CONFIG.replace("\"1.1.0\"", version);
    let stdin: &[(&str, Vec<u8>, i32)] = &[
        ("empty", vec![], 6),
        ("blank", b" \n".to_vec(), 6),
        ("10 MB", large.into_bytes(), 6),
        ("deep", deep.into_bytes(), 6),
        ("bad UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec(), 6),
        ("zeros", vec![0; 4096], 6),
        ("cut", CONFIG.as_bytes()[..30].to_vec(), 6),
        ("two objects", format!("{CONFIG}{CONFIG}").into_bytes(), 6),
        ("array", b"[]".to_vec(), 7),
        ("string", b"\"ADD\"".to_vec(), 7),
        ("null", b"null".to_vec(), 7),
        ("no version", b"{\"name\":\"mesh\"}".to_vec(), 1),
        ("version 0.2.0", version("\"0.2.0\"").into_bytes(), 1),
        ("version 1.2.0", version("\"1.2.0\"").into_bytes(), 1),
        ("version words", version("\"latest\"").into_bytes(), 1),
        ("version number", version("1.1").into_bytes(), 7),
        (
            "name number",
            CONFIG.replace("\"mesh\"", "7").into_bytes(),
            7,
        ),
        ("name empty", CONFIG.replace("mesh", "").into_bytes(), 7),
        ("name path", CONFIG.replace("mesh", "../x").into_bytes(), 7),
        (
            "no type",
            br#"{"cniVersion":"1.1.0","name":"mesh"}"#.to_vec(),
            7,
        ),
        ("socket number", with("\"socket\":1").into_bytes(), 7),
        (
            "socket relative",
            with("\"socket\":\"a.sock\"").into_bytes(),
            7,
        ),
        (
            "socket long",
            with(&format!("\"socket\":\"/{}\"", "s".repeat(200))).into_bytes(),
            7,
        ),
        ("state directory", with("\"stateDir\":[]").into_bytes(), 7),
        (
            "ipam",
            with(r#""ipam":{"type":"host-local"}"#).into_bytes(),
            2,
        ),
    ];
    for (name, stdin, code) in stdin {
        let answer = run(call(&[]), stdin);
        assert_eq!(answer.code, *code, "{name}: {}", answer.stderr);
        answer.fails_with(*code);
    }
    let environment: &[(&str, &str, i32)] = &[
        ("CNI_COMMAND", "", 4),
        ("CNI_COMMAND", "add", 4),
        ("CNI_COMMAND", "RUN", 4),
        ("CNI_CONTAINERID", "", 4),
        ("CNI_CONTAINERID", "../../etc", 4),
        ("CNI_CONTAINERID", "a b", 4),
        ("CNI_IFNAME", "", 4),
        ("CNI_IFNAME", "sixteen-letters-", 4),
        ("CNI_IFNAME", "..", 4),
        ("CNI_IFNAME", "a/b", 4),
        ("CNI_IFNAME", "a b", 4),
        ("CNI_NETNS", "", 4),
        ("CNI_NETNS", "/run/netns/bmcni-absent", 3),
        ("CNI_NETNS", "/proc/self/ns/net", 4),
        ("CNI_NETNS", "/dev/null", 4),
        ("CNI_ARGS", "K8S_POD_NAME", 4),
    ];
    for (name, value, code) in environment {
        let answer = run(call(&[(name, value)]), CONFIG.as_bytes());
        assert_eq!(answer.code, *code, "{name}={value}: {}", answer.stderr);
        let error = answer.fails_with(*code);
        assert!(
            error["details"].as_str().unwrap().contains(name),
            "{name}: {error}"
        );
    }
    for verb in ["GC", "STATUS"] {
        let old = version("\"1.0.0\"");
        run(call(&[("CNI_COMMAND", verb)]), old.as_bytes()).fails_with(1);
    }
    run(
        call(&[("CNI_COMMAND", "CHECK")]),
        version("\"0.3.1\"").as_bytes(),
    )
    .fails_with(1);
    let labels = with(r#""args":{"cni":{"labels":[{"key":"a"}]}}"#);
    let netns = [("CNI_NETNS", "/proc/1/ns/net")];
    let code = run(call(&netns), labels.as_bytes()).code;
    assert!(
        [3, 4, 7].contains(&code),
        "{code}: the same namespace, no permission, or the labels"
    );
}

pub(crate) fn version_needs_no_stdin() {
    let asked = [
        ("", "1.1.0"),
        ("{]", "1.1.0"),
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
    ];
    for (stdin, version) in asked {
        let mut command = plugin();
        command.env("CNI_COMMAND", "VERSION");
        let answer = run(command, stdin.as_bytes()).succeeds();
        let expected = serde_json::json!({"cniVersion": version,
            "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]});
        assert_eq!(answer.json(), expected, "{stdin}");
    }
}

pub(crate) fn closed_stdout_ends_without_a_panic() {
    let mut command = plugin();
    command
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
