//! Console of the `beemesh` command: exit codes, output formats, input files, escapes for
//! terminals.
//!
//! ```text
//! -f FILE -> input -> verb -> output -> stdout      failure -> exit code
//!                        |-> progress, note -> stderr
//! ```

#![forbid(unsafe_code)]

pub mod failure;
pub mod family;
pub mod input;
pub mod nearest;
pub mod output;
pub mod progress;
pub mod terminal;
pub mod ttl;

/// Prints a remark to stderr that is neither a result nor a failure.
pub fn note(text: &str) {
    terminal::say(&format!("note: {text}"));
}
