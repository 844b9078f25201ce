//! Encrypted connection between holders of a mesh key.
//!
//! Noise, `NNpsk0`: both ends prove that they hold the key and derive new session keys, so that a
//! recorded connection cannot be replayed.

use snow::{Builder, HandshakeState, TransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::Error;
use super::frame::{self, MAX_RECORD, TAG};
use super::keys::{Key, Keys};
use super::message::Message;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"beemesh link states";
/// Length in bytes of both handshake messages: a public key and a tag.
const GREETING: usize = 32 + TAG;

/// One end of a connection, after the handshake.
#[derive(Debug)]
pub(super) struct Channel<S> {
    stream: S,
    noise: TransportState,
    /// Received ciphertext.
    sealed: Vec<u8>,
    /// Decrypted bytes: at most a message and a record.
    opened: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Handshake of the dialling side.
    ///
    /// # Errors
    /// [`Error::Refused`] when the other side has another key.
    pub(super) async fn dial(mut stream: S, key: &Key) -> Result<Channel<S>, Error> {
        let mut noise = builder(key)?.build_initiator()?;
        write_greeting(&mut stream, &mut noise).await?;
        let greeting = match read_greeting(&mut stream).await {
            Err(Error::Closed) => return Err(Error::Refused),
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Err(Error::Refused);
            }
            read => read?,
        };
        let mut nothing = [0; GREETING];
        noise
            .read_message(&greeting, &mut nothing)
            .map_err(|_| Error::Key)?;
        Channel::new(stream, noise)
    }

    /// Handshake of the accepting side; also returns the key of the other side.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not one of ours.
    pub(super) async fn answer(mut stream: S, keys: &Keys) -> Result<(Channel<S>, Key), Error> {
        let greeting = read_greeting(&mut stream).await?;
        for key in keys.accepted() {
            let mut noise = builder(key)?.build_responder()?;
            let mut nothing = [0; GREETING];
            if noise.read_message(&greeting, &mut nothing).is_err() {
                continue;
            }
            write_greeting(&mut stream, &mut noise).await?;
            return Ok((Channel::new(stream, noise)?, key.clone()));
        }
        Err(Error::Key)
    }

    fn new(stream: S, noise: HandshakeState) -> Result<Channel<S>, Error> {
        Ok(Channel {
            stream,
            noise: noise.into_transport_mode()?,
            sealed: Vec::new(),
            opened: Vec::new(),
        })
    }

    /// Receives a message. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = frame::read(&mut self.opened)? {
                return Ok(message);
            }
            if let Some(record) = frame::read_record(&mut self.sealed) {
                self.open(&record)?;
                continue;
            }
            self.sealed.reserve(MAX_RECORD);
            if self.stream.read_buf(&mut self.sealed).await? == 0 {
                return Err(Error::Closed);
            }
        }
    }

    fn open(&mut self, record: &[u8]) -> Result<(), Error> {
        let start = self.opened.len();
        self.opened.resize(start + record.len(), 0);
        let bytes = self.noise.read_message(record, &mut self.opened[start..])?;
        self.opened.truncate(start + bytes);
        Ok(())
    }

    /// Sends messages in one write. Oversized ones are skipped and logged.
    ///
    /// # Errors
    /// The connection is broken; also after a cancelled call.
    pub(super) async fn send(&mut self, messages: &[Message]) -> Result<(), Error> {
        let mut plain = Vec::new();
        for message in messages {
            if let Err(error) = frame::write(message, &mut plain) {
                tracing::error!(%error, message = message.kind(), "message too long, not sent to peers");
            }
            while plain.len() >= MAX_RECORD - TAG {
                let rest = plain.split_off(MAX_RECORD - TAG);
                self.send_record(&plain).await?;
                plain = rest;
            }
        }
        if plain.is_empty() {
            return Ok(());
        }
        self.send_record(&plain).await
    }

    async fn send_record(&mut self, plain: &[u8]) -> Result<(), Error> {
        let mut sealed = vec![0; plain.len() + TAG];
        let bytes = self.noise.write_message(plain, &mut sealed)?;
        let mut record = Vec::with_capacity(bytes + 2);
        frame::write_record(&sealed[..bytes], &mut record);
        self.stream.write_all(&record).await?;
        Ok(())
    }
}

fn builder(key: &Key) -> Result<Builder<'_>, Error> {
    let builder = Builder::new(PATTERN.parse()?);
    Ok(builder.prologue(PROLOGUE)?.psk(0, &key.0)?)
}

async fn write_greeting(
    stream: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
) -> Result<(), Error> {
    let mut greeting = [0; GREETING];
    let bytes = noise.write_message(&[], &mut greeting)?;
    let mut record = Vec::new();
    frame::write_record(&greeting[..bytes], &mut record);
    stream.write_all(&record).await?;
    Ok(())
}

async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; GREETING], Error> {
    let mut record = [0; 2 + GREETING];
    if let Err(error) = stream.read_exact(&mut record).await {
        return Err(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::Closed,
            _ => Error::Io(error),
        });
    }
    let (length, greeting) = record.split_first_chunk::<2>().ok_or(Error::Garbage)?;
    if usize::from(u16::from_be_bytes(*length)) != GREETING {
        return Err(Error::Garbage);
    }
    greeting.try_into().map_err(|_| Error::Garbage)
}

#[cfg(test)]
mod tests;
