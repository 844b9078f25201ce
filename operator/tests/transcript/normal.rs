//! Common part of two runs of a session.

/// `text` without what differs from run to run: durations, times, uids, VNIs, versions of the server, the width
/// of columns.
pub(crate) fn normal(text: &str) -> String {
    // A counter of the whole server.
    let is_kept = |line: &&str| !line.trim_start().starts_with("Resource Version:");
    let lines = text.lines().filter(is_kept).map(|line| {
        let words = line.split_whitespace().map(word);
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| "(),;\"".contains(c));
    let placeholder = if is_duration(bare) {
        "DURATION"
    } else if is_time(bare) {
        "TIME"
    } else if is_uid(bare) {
        "UID"
    } else if is_vni(bare) {
        "VNI"
    } else if is_versions(bare) {
        "VERSIONS"
    } else if !word.is_empty() && word.bytes().all(|b| b == b'-') {
        "---"
    } else {
        return word.to_owned();
    };
    word.replace(bare, placeholder)
}

/// `5s`, `350ms`, `1m2s`; `<unknown>` and `<invalid>` stand for an age as well.
fn is_duration(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || "hmsµ.".contains(c);
    let is_counted = word.starts_with(|c: char| c.is_ascii_digit());
    let ends = word.ends_with(['s', 'm', 'h']);
    (is_counted && ends && word.chars().all(is_part)) || ["<unknown>", "<invalid>"].contains(&word)
}

/// RFC 3339.
fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes.ends_with(b"Z")
}

fn is_uid(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// 2^23 to 2^24 - 1.
fn is_vni(word: &str) -> bool {
    let number = word.trim_start_matches("vni-").parse::<u32>();
    number.is_ok_and(|number| (1 << 23..1 << 24).contains(&number))
}

/// `forwarders=512,nodes=100,pods=300`: each is a counter of the whole server too, or zero.
fn is_versions(word: &str) -> bool {
    let pairs: Vec<_> = word
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let are_counted = pairs
        .iter()
        .all(|(_, number)| number.parse::<u64>().is_ok());
    are_counted
        && pairs
            .iter()
            .map(|(kind, _)| *kind)
            .eq(["forwarders", "nodes", "pods"])
}
