//! What the end-to-end tests share: the program, and the examples of the repository.

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// The program, in the root of the repository.
pub(crate) fn beemesh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beemesh"));
    command
        .current_dir(root())
        .timeout(std::time::Duration::from_secs(120));
    command.env_remove("RUST_BACKTRACE");
    command
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("ctl is in the root")
        .to_owned()
}

/// Runs `beemesh LINE`, the words split at blanks.
pub(crate) fn run(line: &str) -> assert_cmd::assert::Assert {
    beemesh().args(line.split_whitespace()).assert()
}

/// stdout of a run that must succeed.
pub(crate) fn stdout(line: &str) -> String {
    text(&run(line).code(0).get_output().stdout)
}

/// JSON on stdout of a run that must succeed.
pub(crate) fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(&stdout(line)).expect(line)
}

/// stderr of a run that must end with this code.
pub(crate) fn stderr(line: &str, code: i32) -> String {
    text(&run(line).code(code).get_output().stderr)
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// Compares with `ctl/tests/golden/NAME`; `UPDATE_GOLDEN=1` rewrites it.
pub(crate) fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(
        actual, expected,
        "{name}: UPDATE_GOLDEN=1 rewrites it, review the difference"
    );
}
