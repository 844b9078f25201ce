//! Silent drop of all packets that arrive at an interface: an nftables chain at the netdev ingress
//! hook with the policy `drop`.
//!
//! The nftables transaction is encoded here, as its acknowledgements differ from routing requests:
//! only messages that ask for one are acknowledged, and none after a refusal.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

use probe::namespace;

// Of `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
const SUBSYSTEM_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM_NFTABLES << 8;
const DELETE_TABLE: u16 = SUBSYSTEM_NFTABLES << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM_NFTABLES << 8 | 3;
const FAMILY_NETDEV: u8 = 5;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const NESTED: u16 = 1 << 15;
const INGRESS: u32 = 0;
const DROP: u32 = 0;
const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Starts to drop all packets that arrive at `interface` in `netns`; idempotent.
///
/// # Errors
/// Refusal of the kernel, for instance without nf_tables.
pub(crate) fn begin(netns: &str, interface: &str) -> std::io::Result<()> {
    let table = table(interface);
    let mut hook = number(HOOK_NUMBER, INGRESS);
    hook.extend(number(HOOK_PRIORITY, 0));
    hook.extend(string(HOOK_DEVICE, interface));
    let mut chain = string(CHAIN_TABLE, &table);
    chain.extend(string(CHAIN_NAME, "cut"));
    chain.extend(attribute(CHAIN_HOOK | NESTED, &hook));
    chain.extend(number(CHAIN_POLICY, DROP));
    chain.extend(string(CHAIN_TYPE, "filter"));
    let table = message(NEW_TABLE, CREATE, 2, &string(TABLE_NAME, &table));
    transact(
        netns,
        &[table, message(NEW_CHAIN, CREATE | ACK, 3, &chain)].concat(),
    )
}

/// Stops the drop; idempotent.
///
/// # Errors
/// Refusal of the kernel.
pub(crate) fn end(netns: &str, interface: &str) -> std::io::Result<()> {
    let table = string(TABLE_NAME, &table(interface));
    match transact(netns, &message(DELETE_TABLE, ACK, 2, &table)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Table for one interface, so that a repair deletes one table.
fn table(interface: &str) -> String {
    format!("beemesh-lab-{interface}")
}

fn transact(netns: &str, messages: &[u8]) -> std::io::Result<()> {
    let socket = namespace::within(netns, || Ok(open()?))?;
    let resource = SUBSYSTEM_NFTABLES.to_be_bytes();
    let header = [0, 0, resource[0], resource[1]];
    let mut bytes = raw_message(BATCH_BEGIN, 0, 1, &header);
    bytes.extend_from_slice(messages);
    bytes.extend(raw_message(BATCH_END, 0, 9, &header));
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    // The first answer is the one acknowledgement that was asked for, or a refusal.
    let mut answer = [0; 4096];
    let length = loop {
        match recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    // `struct nlmsghdr` (16 bytes), then a negative error number, or 0.
    let code = answer[..length]
        .get(16..20)
        .and_then(|bytes| bytes.first_chunk());
    match code.map_or(libc::EBADMSG, |code| -i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(code)),
    }
}

fn open() -> nix::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
    Ok(socket)
}

fn message(kind: u16, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let header: &[u8] = &[FAMILY_NETDEV, 0, 0, 0];
    raw_message(kind, flags, sequence, &[header, attributes].concat())
}

/// `struct nlmsghdr` and what follows.
fn raw_message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut message = (length as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend_from_slice(payload);
    message.resize(length.next_multiple_of(4), 0);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut attribute = (length as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend_from_slice(value);
    attribute.resize(length.next_multiple_of(4), 0);
    attribute
}

fn string(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// Numbers of nftables are in network order.
fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_messages_are_padded_and_say_their_true_length() {
        assert_eq!(string(3, "cut"), [8, 0, 3, 0, b'c', b'u', b't', 0]);
        assert_eq!(string(3, "cuts").len(), 12);
        assert_eq!(string(3, "cuts")[0], 9);
        assert_eq!(message(NEW_TABLE, CREATE, 2, &string(1, "abcd")).len(), 32);
    }
}
