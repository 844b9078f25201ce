//! The node, over its unix socket, with a deadline for each conversation.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use cni::error::{Code, Error};
use cni::node_protocol::{self, MAX_LINE_BYTES, Reply, Request};
use socket2::{Domain, SockAddr, Socket, Type};

/// Failure of an exchange with the node.
pub(crate) enum Failure {
    /// No answer, or not in time.
    Silence(Error),
    /// The node is undecided or refused, or its answer is invalid.
    Answer(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Silence(error) | Failure::Answer(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Answer(error)
    }
}

/// A connection to the node.
pub(crate) struct Node {
    stream: BufReader<Timed>,
}

/// A stream whose every call ends by one deadline.
struct Timed {
    stream: UnixStream,
    deadline: Instant,
}

impl Node {
    /// Connects; everything on this connection ends by `deadline`.
    ///
    /// # Errors
    /// [`Failure::Silence`], [`Code::TryAgainLater`]: a node that is away now may be back.
    pub(crate) fn connect(socket: &Path, deadline: Instant) -> Result<Self, Failure> {
        let connect = || {
            let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // A full backlog makes connecting wait as long as sending would.
            stream.set_write_timeout(Some(rest(deadline)?))?;
            stream.connect(&SockAddr::unix(socket)?)?;
            Ok(UnixStream::from(std::os::fd::OwnedFd::from(stream)))
        };
        let stream = connect().map_err(|error| away(&error))?;
        Ok(Self {
            stream: BufReader::new(Timed { stream, deadline }),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Code::TryAgainLater`] when the node does not answer or is undecided, the node's own code when it
    /// refuses, [`Code::Node`] when its answer cannot be read.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        let answered = |code, details| Err(Failure::Answer(Error::new(code, details)));
        let line = node_protocol::encode(request);
        if line.len() > MAX_LINE_BYTES {
            let details = "the request is too long for the node";
            return answered(Code::Node, details.to_owned());
        }
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(|error| away(&error))?;
        match node_protocol::read(&mut self.stream) {
            Ok(Some(Reply::TryLater { reason })) => answered(Code::TryAgainLater, reason),
            Ok(Some(Reply::Refused { code, message })) => match Code::refused(code) {
                Code::Node => answered(Code::Node, format!("code {code}: {message}")),
                code => answered(code, message),
            },
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => {
                let error = Error::new(Code::TryAgainLater, "the node hung up");
                Err(Failure::Silence(error))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                answered(Code::Node, error.to_string())
            }
            Err(error) => Err(away(&error)),
        }
    }

    /// Gives the rest of the conversation another deadline.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.stream.get_mut().deadline = deadline;
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(rest(self.deadline)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(rest(self.deadline)?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// An answer that does not fit the question.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Node, format!("unexpected answer {reply:?}"))
}

fn rest(deadline: Instant) -> io::Result<Duration> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(rest)
    }
}

fn away(error: &io::Error) -> Failure {
    let details = match error.kind() {
        // What a socket with a time limit says.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    let details = format!("node: {details}");
    Failure::Silence(Error::new(Code::TryAgainLater, details))
}
