//! Filter of a receiving socket: packets of the links' other ends pass, others never reach its buffer. Pure.
//!
//! Pods' interfaces end in the same namespaces, and what pods send to other Forwarders arrives over links, with a smaller TTL. Without the
//! filter, a pod could fill the buffer.

use libc::sock_filter;

use crate::link::Family;

const LOAD_INTERFACE: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_TTL: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Most instructions that the kernel takes (`BPF_MAXINSNS`).
const MOST: usize = 4096;

/// Program that takes packets which arrived on one of these interfaces, by index, and were forwarded by nobody (RFC 5881, section 5). With
/// more interfaces than fit into a program it takes those of all: whoever reads them looks at the interface again.
pub(crate) fn program(
    family: Family,
    interfaces: impl IntoIterator<Item = u32>,
) -> Vec<sock_filter> {
    let ttl = match family {
        Family::V4 => 8,
        Family::V6 => 7,
    };
    let mut program = vec![
        instruction(LOAD_TTL, 0, 0, (libc::SKF_NET_OFF + ttl) as u32),
        instruction(JUMP_IF_EQUAL, 1, 0, bfd::TTL.into()),
        instruction(RETURN, 0, 0, 0),
    ];
    let head = program.len();
    let offset = (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX) as u32;
    program.push(instruction(LOAD_INTERFACE, 0, 0, offset));
    for interface in interfaces {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, interface));
        program.push(instruction(RETURN, 0, 0, u32::MAX));
    }
    program.push(instruction(RETURN, 0, 0, 0));
    if program.len() > MOST {
        program.truncate(head);
        program.push(instruction(RETURN, 0, 0, u32::MAX));
    }
    program
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a program to a packet on an interface.
    fn run(program: &[sock_filter], ttl: u8, interface: u32) -> u32 {
        let (mut position, mut loaded) = (0, 0);
        loop {
            let it = &program[position];
            position += 1;
            match it.code {
                LOAD_TTL => loaded = u32::from(ttl),
                LOAD_INTERFACE => loaded = interface,
                JUMP_IF_EQUAL if it.k == loaded => position += usize::from(it.jt),
                JUMP_IF_EQUAL => position += usize::from(it.jf),
                _ => return it.k,
            }
        }
    }

    #[test]
    fn packets_of_links_pass_unless_they_were_forwarded() {
        for count in [0, 1, 2, 500, 2_000] {
            let links = program(Family::V4, (0..count).map(|number| 2 * number + 10));
            assert!(links.len() <= MOST);
            for number in [0, 1, count / 2, count.saturating_sub(1)] {
                let passes = run(&links, 255, 2 * number + 10) > 0;
                assert_eq!(passes, number < count, "{number} of {count}");
                assert_eq!(run(&links, 254, 2 * number + 10), 0, "{number} of {count}");
                assert_eq!(run(&links, 255, 2 * number + 11), 0, "{number} of {count}");
            }
        }
        let many = program(Family::V6, 0..3_000);
        assert!(run(&many, 255, 9_999) > 0, "too many to tell");
        assert_eq!(run(&many, 64, 9_999), 0);
    }
}
