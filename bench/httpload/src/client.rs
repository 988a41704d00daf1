//! A connection to the broker, with HTTP/1.1 written by hand, so that the load is rarely the limit.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::arguments::Place;
use crate::failure::Failure;

/// Longer than any poll waits.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

/// A connection that is used again and again.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// What every request says.
    head: String,
    request: Vec<u8>,
    received: Vec<u8>,
    /// Where the last answer's body is in `received`.
    body: std::ops::Range<usize>,
}

/// Where an answer's parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    status: u16,
    head: usize,
    body: usize,
}

impl Client {
    pub(crate) fn connect(place: &Place) -> Result<Client, Failure> {
        let unreachable = |error| Failure::Unreachable { address: place.address.clone(), error };
        let stream = TcpStream::connect(&place.address).map_err(unreachable)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let head = format!(
            " HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {}\r\ncontent-type: application/json\r\n",
            place.address,
            STANDARD.encode(&place.login)
        );
        let (request, received) = (Vec::new(), Vec::new());
        Ok(Client { stream, head, request, received, body: 0..0 })
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn send(&mut self, what: &str, body: &str) -> Result<(), Failure> {
        self.request.clear();
        let length = format!("content-length: {}\r\n\r\n", body.len());
        for part in [what, &self.head, &length, body] {
            self.request.extend_from_slice(part.as_bytes());
        }
        Ok(self.stream.write_all(&self.request)?)
    }

    /// The answer, which has to be a success.
    pub(crate) fn receive(&mut self, what: &str) -> Result<&[u8], Failure> {
        self.received.clear();
        let layout = loop {
            if let Some(layout) = layout(&self.received, what)?
                && self.received.len() >= layout.head + layout.body
            {
                break layout;
            }
            let mut piece = [0; 16 << 10];
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(Failure::Broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.received.extend_from_slice(&piece[..read]);
        };
        self.body = layout.head..layout.head + layout.body;
        let body = &self.received[self.body.clone()];
        if !(200..300).contains(&layout.status) {
            let said = String::from_utf8_lossy(body).into_owned();
            return Err(Failure::Refused { what: what.to_owned(), status: layout.status, said });
        }
        Ok(body)
    }

    pub(crate) fn ask(&mut self, what: &str, body: &str) -> Result<&[u8], Failure> {
        self.send(what, body)?;
        self.receive(what)
    }
}

/// The layout of an answer, as soon as its head is there.
fn layout(bytes: &[u8], what: &str) -> Result<Option<Layout>, Failure> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    let body = length.or_else(|| (status == Some(204)).then_some(0));
    match (status, body) {
        (Some(status), Some(body)) => Ok(Some(Layout { status, head: end + 4, body })),
        (None, _) | (_, None) => {
            Err(Failure::Unintelligible { what: what.to_owned(), said: text.into_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_in_bytes() {
        let layout = |bytes: &str| layout(bytes.as_bytes(), "").unwrap();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(layout(answer), Some(Layout { status: 200, head: answer.len() - 2, body: 2 }));
        assert_eq!(layout("HTTP/1.1 200 OK\r\n"), None);
        let none = "HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(layout(none), Some(Layout { status: 204, head: none.len(), body: 0 }));
    }
}
