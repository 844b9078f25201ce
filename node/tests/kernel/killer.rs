//! Kills a process at a chosen system call: the same one every time, unlike a kill after a while.

use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A traced process with all its threads and children. All calls must come from one thread.
pub(crate) struct Killer {
    process: Pid,
    traced: BTreeSet<Pid>,
    /// Counted system calls; all when empty.
    calls: Vec<i64>,
}

impl Killer {
    /// Begins to trace a running process. Of `calls` the begin of each is counted; without any, the
    /// begin and the end of every system call.
    pub(crate) fn seize(process: u32, calls: &[i64]) -> Killer {
        let process = Pid::from_raw(process.cast_signed());
        let mut traced = BTreeSet::new();
        for thread in fs::read_dir(format!("/proc/{process}/task")).expect("a process") {
            let name = thread.expect("a thread").file_name();
            let thread = Pid::from_raw(
                name.to_str()
                    .and_then(|n| n.parse().ok())
                    .expect("a number"),
            );
            let options = Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACESYSGOOD;
            match ptrace::seize(thread, options) {
                Ok(()) => {}
                // It ended meanwhile.
                Err(Errno::ESRCH) => continue,
                Err(error) => panic!("{error}"),
            }
            // One that ends now is waited for all the same.
            match ptrace::interrupt(thread) {
                Ok(()) | Err(Errno::ESRCH) => traced.insert(thread),
                Err(error) => panic!("{error}"),
            };
        }
        Killer {
            process,
            traced,
            calls: calls.to_vec(),
        }
    }

    /// Kills the process at its `number`th counted stop. False when it ended, or `is_over` said so,
    /// before that; it is then killed as well unless it ended by itself.
    pub(crate) fn kill_at(mut self, number: u64, is_over: impl Fn() -> bool) -> bool {
        let mut count = 0;
        let mut limit = Some(number);
        let mut is_killed = false;
        while !self.traced.is_empty() {
            // Its threads have to be waited for in any case: nobody else is told of their end.
            if !is_killed && limit.is_some() && is_over() {
                self.kill();
                limit = None;
            }
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    count += u64::from(self.is_counted(thread));
                    if limit == Some(count) {
                        self.kill();
                        is_killed = true;
                    }
                    self.go_on(thread, None);
                }
                Ok(WaitStatus::Stopped(thread, signal)) => self.go_on(thread, Some(signal)),
                Ok(WaitStatus::PtraceEvent(thread, ..)) => self.go_on(thread, None),
                Ok(WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..)) => {
                    self.traced.remove(&thread);
                }
                Ok(WaitStatus::StillAlive) => {
                    std::thread::sleep(std::time::Duration::from_micros(50))
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => break,
                Err(error) => panic!("{error}"),
            }
        }
        is_killed
    }

    fn is_counted(&self, thread: Pid) -> bool {
        if self.calls.is_empty() {
            return true;
        }
        let Ok(info) = ptrace::syscall_info(thread) else {
            return false;
        };
        // SAFETY: the kernel filled the variant that `op` names.
        let call = (info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY)
            .then(|| unsafe { info.u.entry.nr }.cast_signed());
        call.is_some_and(|call| self.calls.contains(&call))
    }

    fn kill(&self) {
        // It may have ended by itself meanwhile.
        let _ = kill(self.process, Signal::SIGKILL);
    }

    /// A thread that is new is traced from here on.
    fn go_on(&mut self, thread: Pid, signal: Option<Signal>) {
        self.traced.insert(thread);
        match ptrace::syscall(thread, signal) {
            // Killed meanwhile: its end is told next.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
