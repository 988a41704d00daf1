//! Hand-encoded AMQP 0-9-1: the handful of methods a load generator needs.

use std::io;

use crate::net::{Wait, Wire};

pub(crate) const FRAME_METHOD: u8 = 1;
pub(crate) const FRAME_HEADER: u8 = 2;
pub(crate) const FRAME_BODY: u8 = 3;
pub(crate) const FRAME_HEARTBEAT: u8 = 8;
pub(crate) const FRAME_END: u8 = 0xCE;
/// Frame type, channel and size before the payload, end octet after it.
pub(crate) const FRAME_OVERHEAD: usize = 8;

/// (class, method)
pub(crate) type MethodId = (u16, u16);
pub(crate) const CONNECTION_START: MethodId = (10, 10);
pub(crate) const CONNECTION_START_OK: MethodId = (10, 11);
pub(crate) const CONNECTION_TUNE: MethodId = (10, 30);
pub(crate) const CONNECTION_TUNE_OK: MethodId = (10, 31);
pub(crate) const CONNECTION_OPEN: MethodId = (10, 40);
pub(crate) const CONNECTION_OPEN_OK: MethodId = (10, 41);
pub(crate) const CONNECTION_CLOSE: MethodId = (10, 50);
pub(crate) const CONNECTION_CLOSE_OK: MethodId = (10, 51);
pub(crate) const CONNECTION_BLOCKED: MethodId = (10, 60);
pub(crate) const CONNECTION_UNBLOCKED: MethodId = (10, 61);
pub(crate) const CHANNEL_OPEN: MethodId = (20, 10);
pub(crate) const CHANNEL_OPEN_OK: MethodId = (20, 11);
pub(crate) const CHANNEL_FLOW: MethodId = (20, 20);
pub(crate) const CHANNEL_CLOSE: MethodId = (20, 40);
pub(crate) const CHANNEL_CLOSE_OK: MethodId = (20, 41);
pub(crate) const EXCHANGE_DECLARE: MethodId = (40, 10);
pub(crate) const EXCHANGE_DECLARE_OK: MethodId = (40, 11);
pub(crate) const EXCHANGE_DELETE: MethodId = (40, 20);
pub(crate) const EXCHANGE_DELETE_OK: MethodId = (40, 21);
pub(crate) const QUEUE_DECLARE: MethodId = (50, 10);
pub(crate) const QUEUE_DECLARE_OK: MethodId = (50, 11);
pub(crate) const QUEUE_BIND: MethodId = (50, 20);
pub(crate) const QUEUE_BIND_OK: MethodId = (50, 21);
pub(crate) const QUEUE_DELETE: MethodId = (50, 40);
pub(crate) const QUEUE_DELETE_OK: MethodId = (50, 41);
pub(crate) const BASIC_QOS: MethodId = (60, 10);
pub(crate) const BASIC_QOS_OK: MethodId = (60, 11);
pub(crate) const BASIC_CONSUME: MethodId = (60, 20);
pub(crate) const BASIC_CANCEL: MethodId = (60, 30);
pub(crate) const BASIC_PUBLISH: MethodId = (60, 40);
pub(crate) const BASIC_RETURN: MethodId = (60, 50);
pub(crate) const BASIC_DELIVER: MethodId = (60, 60);
pub(crate) const BASIC_ACK: MethodId = (60, 80);
pub(crate) const BASIC_NACK: MethodId = (60, 120);
pub(crate) const CONFIRM_SELECT: MethodId = (85, 10);
pub(crate) const CONFIRM_SELECT_OK: MethodId = (85, 11);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The broker closed the channel or connection: code and its words.
    #[error("closed by the broker: {0} {1}")]
    Closed(u16, String),
    #[error("protocol: {0}")]
    Protocol(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Where to connect: `host:port` or `amqp://user:pass@host:port/vhost`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: String,
    pub(crate) user: String,
    pub(crate) pass: String,
    pub(crate) vhost: String,
}

impl Target {
    pub(crate) fn parse(uri: &str) -> Target {
        let rest = uri.strip_prefix("amqp://").unwrap_or(uri);
        let (login, rest) = match rest.rsplit_once('@') {
            Some((l, r)) => (l, r),
            None => ("guest:guest", rest),
        };
        let (addr, vhost) = match rest.split_once('/') {
            Some((a, v)) => (a, v.replace("%2f", "/").replace("%2F", "/")),
            None => (rest, "/".to_string()),
        };
        let (user, pass) = login.split_once(':').unwrap_or((login, ""));
        let addr = if addr.contains(':') { addr.to_string() } else { format!("{addr}:5672") };
        let vhost = if vhost.is_empty() { "/".into() } else { vhost };
        Target { addr, user: user.into(), pass: pass.into(), vhost }
    }
}

// ---------------------------------------------------------------- encoding

pub(crate) fn put_shortstr(o: &mut Vec<u8>, s: &str) {
    o.push(s.len() as u8);
    o.extend_from_slice(s.as_bytes());
}

pub(crate) fn put_longstr(o: &mut Vec<u8>, s: &[u8]) {
    o.extend_from_slice(&(s.len() as u32).to_be_bytes());
    o.extend_from_slice(s);
}

/// Value in a field table.
pub(crate) enum Field<'a> {
    Str(&'a str),
    Bool(bool),
    Table(Vec<(&'a str, Field<'a>)>),
}

pub(crate) fn put_table(o: &mut Vec<u8>, t: &[(&str, Field<'_>)]) {
    let at = o.len();
    o.extend_from_slice(&[0; 4]);
    for (k, v) in t {
        put_shortstr(o, k);
        match v {
            Field::Str(s) => {
                o.push(b'S');
                put_longstr(o, s.as_bytes());
            }
            Field::Bool(b) => o.extend_from_slice(&[b't', u8::from(*b)]),
            Field::Table(t) => {
                o.push(b'F');
                put_table(o, t);
            }
        }
    }
    let len = (o.len() - at - 4) as u32;
    o[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends one method frame; `args` writes the arguments.
pub(crate) fn put_method(
    o: &mut Vec<u8>,
    channel: u16,
    id: MethodId,
    args: impl FnOnce(&mut Vec<u8>),
) {
    o.push(FRAME_METHOD);
    o.extend_from_slice(&channel.to_be_bytes());
    let at = o.len();
    o.extend_from_slice(&[0; 4]);
    o.extend_from_slice(&id.0.to_be_bytes());
    o.extend_from_slice(&id.1.to_be_bytes());
    args(o);
    let len = (o.len() - at - 4) as u32;
    o[at..at + 4].copy_from_slice(&len.to_be_bytes());
    o.push(FRAME_END);
}

/// A whole basic.publish (method, header and body
/// frames); the offset of the body's first byte comes back with it. The first
/// 16 body bytes must fit the first body frame.
pub(crate) fn publish_frames(
    channel: u16,
    exchange: &str,
    routing_key: &str,
    persistent: bool,
    body: &[u8],
    frame_max: usize,
) -> (Vec<u8>, usize) {
    let mut o = Vec::with_capacity(body.len() + 128);
    put_method(&mut o, channel, BASIC_PUBLISH, |a| {
        a.extend_from_slice(&[0, 0]);
        put_shortstr(a, exchange);
        put_shortstr(a, routing_key);
        a.push(0); // mandatory, immediate
    });
    o.push(FRAME_HEADER);
    o.extend_from_slice(&channel.to_be_bytes());
    o.extend_from_slice(&15u32.to_be_bytes());
    o.extend_from_slice(&60u16.to_be_bytes());
    o.extend_from_slice(&[0, 0]);
    o.extend_from_slice(&(body.len() as u64).to_be_bytes());
    o.extend_from_slice(&0x1000u16.to_be_bytes()); // delivery-mode only
    o.push(if persistent { 2 } else { 1 });
    o.push(FRAME_END);
    let mut at = 0;
    for part in body.chunks(frame_max - FRAME_OVERHEAD) {
        o.push(FRAME_BODY);
        o.extend_from_slice(&channel.to_be_bytes());
        o.extend_from_slice(&(part.len() as u32).to_be_bytes());
        if at == 0 {
            at = o.len();
        }
        o.extend_from_slice(part);
        o.push(FRAME_END);
    }
    (o, at)
}

// ---------------------------------------------------------------- decoding

/// Reads big-endian fields; past the end it yields zeroes and says so in `ok`.
pub(crate) struct Args<'a> {
    b: &'a [u8],
    pub(crate) ok: bool,
}

impl<'a> Args<'a> {
    pub(crate) fn new(b: &'a [u8]) -> Self {
        Args { b, ok: true }
    }

    #[inline]
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        if n > self.b.len() {
            self.ok = false;
            self.b = &[];
            return &[];
        }
        let (a, r) = self.b.split_at(n);
        self.b = r;
        a
    }

    #[inline]
    fn uint(&mut self, n: usize) -> u64 {
        self.take(n).iter().fold(0, |v, &x| v << 8 | u64::from(x))
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> u8 {
        self.uint(1) as u8
    }
    #[inline]
    pub(crate) fn u16(&mut self) -> u16 {
        self.uint(2) as u16
    }
    #[inline]
    pub(crate) fn u32(&mut self) -> u32 {
        self.uint(4) as u32
    }
    #[inline]
    pub(crate) fn u64(&mut self) -> u64 {
        self.uint(8)
    }
    #[inline]
    pub(crate) fn shortstr(&mut self) -> &'a [u8] {
        let n = self.u8() as usize;
        self.take(n)
    }
}

/// One whole frame in the input buffer.
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes to consume once done with it.
    pub(crate) size: usize,
}

impl<'a> Frame<'a> {
    /// Splits a method frame into its id and arguments.
    #[inline]
    pub(crate) fn method(&self) -> Result<(MethodId, Args<'a>)> {
        if self.kind != FRAME_METHOD || self.payload.len() < 4 {
            return Err(Error::Protocol(format!("method frame expected, got type {}", self.kind)));
        }
        let p = self.payload;
        let id = (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]]));
        Ok((id, Args::new(&p[4..])))
    }
}

/// The first whole frame in `b`, if there is one.
#[inline]
pub(crate) fn peek(b: &[u8]) -> Result<Option<Frame<'_>>> {
    if b.len() < 7 {
        return Ok(None);
    }
    let n = u32::from_be_bytes([b[3], b[4], b[5], b[6]]) as usize;
    let size = n + FRAME_OVERHEAD;
    if b.len() < size {
        return Ok(None);
    }
    if b[size - 1] != FRAME_END {
        return Err(Error::Protocol(format!("no frame end: {:02x?}", &b[..b.len().min(16)])));
    }
    Ok(Some(Frame { kind: b[0], payload: &b[7..size - 1], size }))
}

// --------------------------------------------------------------- connection

/// One connection with one channel (number 1).
pub(crate) struct Conn {
    pub(crate) wire: Wire,
    pub(crate) frame_max: usize,
    pub(crate) server: String,
}

pub(crate) const CH: u16 = 1;

/// Room for input where messages come.
const INPUT_ROOM: usize = 256 * 1024;

impl Conn {
    /// The handshake, and a channel.
    pub(crate) fn open(t: &Target) -> Result<Conn> {
        let mut c = Conn::shake_hands(t, INPUT_ROOM)?;
        put_method(&mut c.wire.out, CH, CHANNEL_OPEN, |a| put_shortstr(a, ""));
        c.call(CHANNEL_OPEN_OK)?;
        Ok(c)
    }

    /// The handshake, with so much room for input.
    pub(crate) fn shake_hands(t: &Target, room: usize) -> Result<Conn> {
        let wire = Wire::connect(&t.addr, room)?;
        let mut c = Conn { wire, frame_max: 4096, server: String::new() };
        c.wire.write_all_now(b"AMQP\x00\x00\x09\x01")?;
        let start = c.wait_for(CONNECTION_START)?;
        c.server = product(&start);
        put_method(&mut c.wire.out, 0, CONNECTION_START_OK, |a| {
            let caps = vec![
                ("publisher_confirms", Field::Bool(true)),
                ("basic.nack", Field::Bool(true)),
                ("consumer_cancel_notify", Field::Bool(true)),
                ("connection.blocked", Field::Bool(true)),
            ];
            put_table(
                a,
                &[("product", Field::Str("amqpload")), ("capabilities", Field::Table(caps))],
            );
            put_shortstr(a, "PLAIN");
            put_longstr(a, format!("\0{}\0{}", t.user, t.pass).as_bytes());
            put_shortstr(a, "en_US");
        });
        c.wire.flush()?;
        let tune = c.wait_for(CONNECTION_TUNE)?;
        let mut a = Args::new(&tune);
        let (_channel_max, frame_max) = (a.u16(), a.u32());
        c.frame_max = if frame_max == 0 { 131_072 } else { frame_max.min(131_072) } as usize;
        let frame_max = c.frame_max as u32;
        put_method(&mut c.wire.out, 0, CONNECTION_TUNE_OK, |a| {
            a.extend_from_slice(&16u16.to_be_bytes());
            a.extend_from_slice(&frame_max.to_be_bytes());
            a.extend_from_slice(&0u16.to_be_bytes()); // no heartbeats
        });
        put_method(&mut c.wire.out, 0, CONNECTION_OPEN, |a| {
            put_shortstr(a, &t.vhost);
            put_shortstr(a, "");
            a.push(0);
        });
        c.call(CONNECTION_OPEN_OK)?;
        Ok(c)
    }

    /// Flushes and waits for the reply `want`; its arguments come back.
    fn call(&mut self, want: MethodId) -> Result<Vec<u8>> {
        self.wire.flush()?;
        self.wait_for(want)
    }

    /// Waits for `want`, passing over everything else that a quiet channel may
    /// receive (heartbeats, late acks, blocked notices).
    fn wait_for(&mut self, want: MethodId) -> Result<Vec<u8>> {
        loop {
            while let Some(f) = peek(self.wire.input())? {
                let size = f.size;
                let mut got = None;
                if f.kind == FRAME_METHOD {
                    let (id, args) = f.method()?;
                    if id == want {
                        got = Some(args.b.to_vec());
                    } else {
                        closed(id, args)?;
                    }
                }
                self.wire.consume(size);
                if let Some(g) = got {
                    return Ok(g);
                }
            }
            self.wire.fill(Wait::Forever)?;
        }
    }

    pub(crate) fn declare(
        &mut self,
        queue: &str,
        passive: bool,
        durable: bool,
        args: &[(&str, Field<'_>)],
    ) -> Result<u64> {
        put_method(&mut self.wire.out, CH, QUEUE_DECLARE, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, queue);
            a.push(u8::from(passive) | u8::from(durable) << 1);
            put_table(a, args);
        });
        let ok = self.call(QUEUE_DECLARE_OK)?;
        let mut a = Args::new(&ok);
        a.shortstr();
        Ok(u64::from(a.u32()))
    }

    pub(crate) fn declare_fanout(&mut self, exchange: &str, durable: bool) -> Result<()> {
        put_method(&mut self.wire.out, CH, EXCHANGE_DECLARE, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, exchange);
            put_shortstr(a, "fanout");
            a.push(u8::from(durable) << 1);
            put_table(a, &[]);
        });
        self.call(EXCHANGE_DECLARE_OK).map(|_| ())
    }

    pub(crate) fn delete_exchange(&mut self, exchange: &str) -> Result<()> {
        put_method(&mut self.wire.out, CH, EXCHANGE_DELETE, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, exchange);
            a.push(0);
        });
        self.call(EXCHANGE_DELETE_OK).map(|_| ())
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str) -> Result<()> {
        put_method(&mut self.wire.out, CH, QUEUE_BIND, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, queue);
            put_shortstr(a, exchange);
            put_shortstr(a, "");
            a.push(0);
            put_table(a, &[]);
        });
        self.call(QUEUE_BIND_OK).map(|_| ())
    }

    pub(crate) fn delete(&mut self, queue: &str) -> Result<()> {
        put_method(&mut self.wire.out, CH, QUEUE_DELETE, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, queue);
            a.push(0);
        });
        self.call(QUEUE_DELETE_OK).map(|_| ())
    }

    pub(crate) fn confirm_select(&mut self) -> Result<()> {
        put_method(&mut self.wire.out, CH, CONFIRM_SELECT, |a| a.push(0));
        self.call(CONFIRM_SELECT_OK).map(|_| ())
    }

    pub(crate) fn qos(&mut self, prefetch: u16) -> Result<()> {
        put_method(&mut self.wire.out, CH, BASIC_QOS, |a| {
            a.extend_from_slice(&0u32.to_be_bytes());
            a.extend_from_slice(&prefetch.to_be_bytes());
            a.push(0);
        });
        self.call(BASIC_QOS_OK).map(|_| ())
    }

    /// Only queues the request: consume-ok comes in among the deliveries.
    pub(crate) fn consume(&mut self, queue: &str, tag: &str, no_ack: bool) {
        put_method(&mut self.wire.out, CH, BASIC_CONSUME, |a| {
            a.extend_from_slice(&[0, 0]);
            put_shortstr(a, queue);
            put_shortstr(a, tag);
            a.push(u8::from(no_ack) << 1);
            put_table(a, &[]);
        });
    }

    /// Everything sent before has been handled by the broker once this returns.
    pub(crate) fn close(&mut self) -> Result<()> {
        put_method(&mut self.wire.out, CH, CHANNEL_CLOSE, |a| {
            a.extend_from_slice(&200u16.to_be_bytes());
            put_shortstr(a, "bye");
            a.extend_from_slice(&[0; 4]);
        });
        self.call(CHANNEL_CLOSE_OK)?;
        self.part()
    }

    /// Agrees with the broker that it is over.
    pub(crate) fn part(&mut self) -> Result<()> {
        put_method(&mut self.wire.out, 0, CONNECTION_CLOSE, |a| {
            a.extend_from_slice(&200u16.to_be_bytes());
            put_shortstr(a, "bye");
            a.extend_from_slice(&[0; 4]);
        });
        self.call(CONNECTION_CLOSE_OK).map(|_| ())
    }
}

/// An error if this method says that the broker closed something.
pub(crate) fn closed(id: MethodId, mut args: Args<'_>) -> Result<()> {
    match id {
        CHANNEL_CLOSE | CONNECTION_CLOSE => {
            let code = args.u16();
            Err(Error::Closed(code, String::from_utf8_lossy(args.shortstr()).into_owned()))
        }
        BASIC_CANCEL => Err(Error::Closed(0, "the broker cancelled a consumer".into())),
        _ => Ok(()),
    }
}

/// "product version" from connection.start's server-properties, best effort.
fn product(start: &[u8]) -> String {
    let find = |key: &str| -> Option<String> {
        let mut k = vec![key.len() as u8];
        k.extend_from_slice(key.as_bytes());
        k.push(b'S');
        let at = start.windows(k.len()).position(|w| w == k)? + k.len();
        let n = u32::from_be_bytes(start.get(at..at + 4)?.try_into().ok()?) as usize;
        Some(String::from_utf8_lossy(start.get(at + 4..at + 4 + n)?).into_owned())
    };
    let p = find("product").unwrap_or_else(|| "?".into());
    let v = find("version").unwrap_or_else(|| "?".into());
    format!("{p} {v}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_forms() {
        let t = Target::parse("127.0.0.1:5000");
        assert_eq!(
            (t.addr.as_str(), t.user.as_str(), t.vhost.as_str()),
            ("127.0.0.1:5000", "guest", "/")
        );
        let t = Target::parse("amqp://a:b@h/%2f");
        assert_eq!((t.addr.as_str(), t.pass.as_str(), t.vhost.as_str()), ("h:5672", "b", "/"));
    }

    #[test]
    fn frames_round_trip() {
        let body = crate::stamp::template(300);
        let (b, at) = publish_frames(1, "", "q", true, &body, 136);
        assert_eq!(&b[at..at + 16], &body[..16]);
        let (mut pos, mut got, mut kinds) = (0, Vec::new(), Vec::new());
        while let Some(f) = peek(&b[pos..]).unwrap() {
            kinds.push(f.kind);
            if f.kind == FRAME_BODY {
                got.extend_from_slice(f.payload);
            }
            pos += f.size;
        }
        assert_eq!(pos, b.len());
        assert_eq!(kinds, [FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_BODY, FRAME_BODY]);
        assert_eq!(got, body);
    }
}
