//! Who is connected: what each client told of itself, what went over its socket, and how it stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use domain::name::Name;
use domain::table::Table;
use stdx::clock::Monotonic;

use crate::rate::per_second;
use crate::session_id::SessionId;

/// What a protocol knows of a connection when its client has logged in.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The protocol and its version, as `AMQP 0-9-1`.
    pub protocol: &'static str,
    /// Where the client comes from.
    pub peer: SocketAddr,
    /// Where it came in; `None`: the system would not say.
    pub local: Option<SocketAddr>,
    /// How it is encrypted, if it is.
    pub tls: Option<TlsFacts>,
    /// How the client logged in, as `PLAIN`.
    pub mechanism: Box<str>,
    /// What the client told of itself.
    pub client_properties: Table,
    /// The highest channel number; 0: the protocol has no channels.
    pub channel_max: u16,
    /// The largest frame, in bytes; 0: the protocol has no frames.
    pub frame_bytes_max: u32,
    /// How often each side shows a sign of life, in seconds; 0: never.
    pub heartbeat_seconds: u16,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol's version, as `TLSv1.3`.
    pub version: Box<str>,
    /// The cipher suite.
    pub cipher: Box<str>,
    /// The subject of the client's certificate, if it showed one.
    pub peer_certificate_subject: Option<Box<str>>,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing holds it up.
    #[default]
    Running,
    /// Too much of what it published is not yet safe; it is not read for a moment.
    Flow,
    /// An alarm is raised, and it would be blocked if it published.
    Blocking,
    /// An alarm is raised, and it has published: it is not read.
    Blocked,
    /// It is being closed.
    Closing,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: [ConnectionState; 5] = [
        ConnectionState::Running,
        ConnectionState::Flow,
        ConnectionState::Blocking,
        ConnectionState::Blocked,
        ConnectionState::Closing,
    ];

    /// RabbitMQ's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionState::Running => "running",
            ConnectionState::Flow => "flow",
            ConnectionState::Blocking => "blocking",
            ConnectionState::Blocked => "blocked",
            ConnectionState::Closing => "closing",
        }
    }
}

/// What went over a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketTraffic {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// How often something was read.
    pub reads: u64,
    /// How often something was written.
    pub writes: u64,
}

/// Bytes per second, lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SocketRates {
    /// Read.
    pub read_bytes: f64,
    /// Written.
    pub written_bytes: f64,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// `peer -> local`, as RabbitMQ names it; a later connection has another peer.
    pub name: Box<str>,
    /// Who logged in.
    pub user: Name,
    /// Into which virtual host.
    pub vhost: Name,
    /// What the client told.
    pub introduction: Introduction,
    /// When it came, in milliseconds since 1970.
    pub connected_wall_ms: u64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    state: AtomicU8,
    rates: Mutex<Sampled>,
    pub(crate) session: OnceLock<SessionId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sampled {
    traffic: SocketTraffic,
    rates: SocketRates,
}

impl Connection {
    pub(crate) fn new(
        user: Name,
        vhost: Name,
        introduction: Introduction,
        connected_wall_ms: u64,
    ) -> Connection {
        let name = match introduction.local {
            Some(local) => format!("{} -> {local}", introduction.peer),
            None => introduction.peer.to_string(),
        };
        Connection {
            name: name.into(),
            user,
            vhost,
            introduction,
            connected_wall_ms,
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            state: AtomicU8::new(0),
            rates: Mutex::default(),
            session: OnceLock::new(),
        }
    }

    /// So much was read from the socket.
    pub fn count_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So much was written to the socket.
    pub fn count_written(&self, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What went over its socket.
    pub fn traffic(&self) -> SocketTraffic {
        SocketTraffic {
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    /// The same per second, lately.
    pub fn rates(&self) -> SocketRates {
        self.sampled().rates
    }

    /// How it stands.
    pub fn state(&self) -> ConnectionState {
        let state = self.state.load(Ordering::Relaxed);
        ConnectionState::ALL.get(usize::from(state)).copied().unwrap_or_default()
    }

    /// Its protocol says how it stands.
    pub fn set_state(&self, state: ConnectionState) {
        let at = ConnectionState::ALL.iter().position(|known| *known == state).unwrap_or(0);
        self.state.store(u8::try_from(at).unwrap_or(0), Ordering::Relaxed);
    }

    /// The name that the client gave it, if it did.
    pub fn client_provided_name(&self) -> Option<&str> {
        self.introduction.client_properties.get("connection_name")?.as_text()
    }

    fn sampled(&self) -> MutexGuard<'_, Sampled> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sample(&self, elapsed_ms: u64) {
        let now = self.traffic();
        let mut sampled = self.sampled();
        let before = sampled.traffic;
        sampled.rates = SocketRates {
            read_bytes: per_second(now.read_bytes, before.read_bytes, elapsed_ms),
            written_bytes: per_second(now.written_bytes, before.written_bytes, elapsed_ms),
        };
        sampled.traffic = now;
    }
}

/// Who is connected just now.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    by_number: BTreeMap<u64, Arc<Connection>>,
    next: u64,
    /// How many there ever were.
    opened: u64,
    closed: u64,
    sampled_ms: u64,
}

/// How many connections came and went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionsSeen {
    /// Came.
    pub opened: u64,
    /// Went.
    pub closed: u64,
}

/// A connection's entry among those connected; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

impl Connections {
    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(self: &Arc<Connections>, connection: Arc<Connection>) -> Registered {
        let mut listed = self.listed();
        let number = listed.next;
        listed.next += 1;
        listed.opened += 1;
        listed.by_number.insert(number, Arc::clone(&connection));
        Registered { connections: Arc::clone(self), number, connection }
    }

    /// All, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.listed().by_number.values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Connection>> {
        self.listed().by_number.values().find(|it| *it.name == *name).cloned()
    }

    /// How long ago the last sample was begun, in milliseconds.
    pub(crate) fn begin_sample(&self, now: Monotonic) -> u64 {
        let mut listed = self.listed();
        let before_ms = std::mem::replace(&mut listed.sampled_ms, now.ms());
        now.ms().saturating_sub(before_ms)
    }

    pub(crate) fn seen(&self) -> ConnectionsSeen {
        let listed = self.listed();
        ConnectionsSeen { opened: listed.opened, closed: listed.closed }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut listed = self.connections.listed();
        listed.by_number.remove(&self.number);
        listed.closed += 1;
    }
}
