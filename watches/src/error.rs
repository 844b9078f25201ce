//! Errors of requests and watches.

use kube::runtime::watcher;

/// HTTP status of a refusal; `None` without an answer.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// As [`code`], for a watch.
pub fn watch_code(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => code(error),
        WatchError(status) => Some(status.code),
        _ => None,
    }
}
