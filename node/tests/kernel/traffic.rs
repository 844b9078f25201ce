//! Packets on their way while something happens.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use crate::world::wait_for;

/// Pings until it is ended, one every 2 ms.
pub(crate) struct Traffic {
    ping: Child,
    log: NamedTempFile,
}

impl Traffic {
    /// Waits until packets come back from `address`.
    pub(crate) fn start(netns: &str, address: IpAddr) -> Traffic {
        let log = NamedTempFile::new().expect("a file");
        // For longer than anything takes; their numbers are of 16 bits.
        let options = format!("ping -n -i 0.002 -c 60000 {address}");
        let ping = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{netns}"))
            .args(options.split(' '))
            .stdout(log.reopen().expect("a file"))
            .spawn()
            .expect("ping");
        let traffic = Traffic { ping, log };
        traffic.wait_for_more();
        traffic
    }

    /// Waits until more packets come back.
    pub(crate) fn wait_for_more(&self) {
        let before = self.returned().len();
        wait_for("packets come back", || self.returned().len() > before);
    }

    /// Ends it. How many packets were lost before the last one that came back.
    pub(crate) fn end(mut self) -> usize {
        let ended = self.ping.try_wait().expect("ping");
        assert!(ended.is_none(), "it is under way until now");
        let process = Pid::from_raw(self.ping.id().cast_signed());
        kill(process, Signal::SIGINT).expect("ping");
        self.ping.wait().expect("ping");
        let returned = self.returned();
        let last = returned.last().expect("packets came back");
        last - returned.len()
    }

    /// The numbers of the packets that came back, from 1 on.
    fn returned(&self) -> BTreeSet<usize> {
        let log = fs::read_to_string(self.log.path()).expect("a log");
        let lines = log.lines().filter(|line| line.contains(" bytes from "));
        let numbers = lines.filter_map(|line| line.split_once("icmp_seq=")?.1.split(' ').next());
        numbers.filter_map(|number| number.parse().ok()).collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}
