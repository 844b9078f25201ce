//! A way to the API server that can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Passes connections on until it is cut.
pub(crate) struct Relay {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    is_cut: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// One from a port of its own to `port`.
    pub(crate) fn to(port: u16) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Relay::from(listener, port)
    }

    fn from(listener: TcpListener, port: u16) -> Result<Relay> {
        let state = Arc::new(State {
            is_cut: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let relay = Relay {
            port: listener.local_addr()?.port(),
            state: Arc::clone(&state),
        };
        // It waits for connections until the test's process ends.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One that fails is closed, as a server would.
                let _ = state.pass(stream, port);
            }
        });
        Ok(relay)
    }

    /// Ends every connection, and every later one at once.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        for stream in self.state.streams().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, near: TcpStream, port: u16) -> io::Result<()> {
        // Under the lock, so that no connection slips through a cut.
        let mut streams = self.streams();
        if self.is_cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || {
                // However it ends, both ends learn it.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        }
        streams.extend([near, far]);
        Ok(())
    }
}
