//! A text with its checksum: CRC-32 in hexadecimal, a line end, then the text.

/// The sealed `text`, and its checksum.
pub fn seal(text: &[u8]) -> (Vec<u8>, u32) {
    let checksum = crc32fast::hash(text);
    let mut bytes = format!("{checksum:08x}\n").into_bytes();
    bytes.extend(text);
    (bytes, checksum)
}

/// The text of sealed bytes, and its checksum; none when they are damaged.
pub fn unseal(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (line, text) = bytes.split_at_checked(9)?;
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let checksum = u32::from_str_radix(line, 16).ok()?;
    (crc32fast::hash(text) == checksum).then_some((text, checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_at_any_byte_is_found() {
        let (bytes, checksum) = seal(b"{\"a\": 1}");
        assert_eq!(unseal(&bytes), Some((&b"{\"a\": 1}"[..], checksum)));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(&damaged), None, "byte {at}");
            assert_eq!(unseal(&bytes[..at]), None, "cut at {at}");
        }
    }
}
