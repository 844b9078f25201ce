//! Tests that need servers, for libtest-mimic: run, or shown as ignored with the sentence what to install.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// A test that is ignored when `missing` (from [`crate::needs`]) names a missing requirement.
pub fn trial(
    name: &str,
    missing: Option<&str>,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    let run = move || test().map_err(|error| Failed::from(format!("{error:#}")));
    let kind = if missing.is_some() {
        "needs servers"
    } else {
        ""
    };
    Trial::test(name, run)
        .with_kind(kind)
        .with_ignored_flag(missing.is_some())
}

/// Prints the sentence that [`crate::needs`] gave, for a test program to call before it runs its trials.
pub fn tell(missing: Option<&str>) {
    if let Some(sentence) = missing {
        eprintln!("ignored: {sentence}");
    }
}
