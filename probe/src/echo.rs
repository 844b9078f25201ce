//! Sends back every datagram that arrives, for a tracer elsewhere: an answer that no router limits.

use super::poll_timeout;
use nix::poll::{PollFd, PollFlags, poll};
use socket2::Socket;
use std::{
    io::{self, Read},
    mem::MaybeUninit,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// Answers until stdin ends, or `limit` has passed.
///
/// # Errors
/// When the socket or stdin cannot be read.
pub fn until_stdin_ends(socket: &Socket, limit: Duration) -> io::Result<()> {
    let (mut stdin, end) = (io::stdin(), Instant::now() + limit);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut polled =
            [stdin.as_fd(), socket.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, poll_timeout(left)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_stdin = polled[0].any().unwrap_or(true);
        answer(socket)?;
        if has_stdin && stdin.read(&mut [0; 64])? == 0 {
            return Ok(());
        }
    }
}

fn answer(socket: &Socket) -> io::Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // Somebody had no use for an answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        // SAFETY: `recv_from` has filled the first `length` bytes.
        let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
        // What is lost is asked for again.
        let _ = socket.send_to(packet, &from);
    }
}
