//! A client as simple as they come: one request for each connection.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

/// How long one answer may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) if_match: Option<&'a str>,
    pub(crate) body: &'a str,
}

/// Answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }

    /// The answer, when it has this status.
    pub(crate) fn with(self, status: u16) -> Result<Answer> {
        match self.status == status {
            true => Ok(self),
            false => Err(anyhow!("expected status {status}: {self:?}")),
        }
    }

    /// `detail` of the problem that is told.
    pub(crate) fn detail(&self) -> Result<String> {
        let json = self.json()?;
        let detail = json["detail"].as_str();
        detail
            .map(str::to_owned)
            .with_context(|| format!("{self:?}"))
    }
}

/// Connects as plain as it goes.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Asks, and reads to the end of the connection.
pub(crate) fn ask(stream: &mut (impl Read + Write), asked: &Asked<'_>) -> Result<Answer> {
    let length = asked.body.len();
    send(stream, asked, length)?;
    stream.write_all(asked.body.as_bytes())?;
    receive(stream)
}

/// Asks with the announcement of a body that is then not sent.
pub(crate) fn announce(
    stream: &mut (impl Read + Write),
    asked: &Asked<'_>,
    length: usize,
) -> Result<Answer> {
    send(stream, asked, length)?;
    receive(stream)
}

/// Sends the head of a request, with the announcement of a body.
pub(crate) fn send(stream: &mut impl Write, asked: &Asked<'_>, length: usize) -> Result<()> {
    let Asked { method, path, .. } = asked;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: operator\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    if let Some(token) = asked.token {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    if let Some(tag) = asked.if_match {
        head += &format!("if-match: {tag}\r\n");
    }
    head += "\r\n";
    Ok(stream.write_all(head.as_bytes())?)
}

fn receive(stream: &mut impl Read) -> Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("no status")?.parse()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let is_chunked = headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked");
    let body = match is_chunked {
        true => unchunked(body)?,
        false => body.to_owned(),
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}

fn unchunked(mut text: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").context("no size of a chunk")?;
        let size = usize::from_str_radix(size, 16)?;
        if size == 0 {
            return Ok(body);
        }
        body += rest.get(..size).context("half a chunk")?;
        text = rest.get(size + 2..).context("no end of a chunk")?;
    }
}
