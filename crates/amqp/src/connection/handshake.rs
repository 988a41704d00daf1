//! The opening of a connection: start, tune, open (§2.2.4). Ends with limits agreed on and a
//! virtual host entered, or with a refusal.

#![deny(clippy::indexing_slicing)]

use std::net::SocketAddr;

use broker::{ConnectRefusal, Full, LoginRefusal};
use domain::name::Name;
use domain::table::{Table, Value};
use stdx::reader::Reader;

use crate::reply_code::{Fault, MethodId, ReplyCode};
use crate::settings::AmqpSettings;
use crate::translate::garbled;
use crate::wire::field::{LongString, ShortString};
use crate::wire::frame::FRAME_BYTES_MIN;
use crate::wire::method::{self, Method, connection};

/// Whether somebody is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    In,
    /// The password is being checked; [`Connection::verdict`](super::Connection::verdict) tells
    /// the outcome. Until then the client should not be read.
    Pending,
}

/// The broker's door, as a connection needs it while it opens.
pub trait Gate {
    /// Checks a user's password.
    fn login(&mut self, user: &str, password: &[u8]) -> Result<Admission, LoginRefusal>;

    /// Where the client comes from, for the log.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// Whether who has logged in may publish in the names of others.
    fn may_impersonate(&self) -> bool;

    /// A name that begins with `prefix` and that nobody can guess.
    fn make_name(&mut self, prefix: &str) -> Name;

    /// The name that the client's certificate proves, if it showed one that was verified.
    fn certified_name(&self) -> Option<&str>;

    /// Lets in whoever [`Gate::certified_name`] names, and says who that is.
    fn login_certified(&mut self) -> Result<String, LoginRefusal>;

    /// Enters a virtual host as the user who logged in; the client has told this of itself.
    fn enter(&mut self, vhost: &str, told: Told) -> Result<(), ConnectRefusal>;
}

/// What a client told, and what it agreed to, while its connection opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// How it logged in.
    pub mechanism: String,
    /// What it said of itself.
    pub client_properties: Table,
    /// The highest channel number.
    pub channel_max: u16,
    /// The largest frame, in bytes.
    pub frame_bytes_max: u32,
    /// How often each side shows a sign of life, in seconds; 0: never.
    pub heartbeat_seconds: u16,
}

/// What a client told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "what it has announced, or not, one by one")]
pub(crate) struct Client {
    /// Who logged in.
    pub(crate) user: String,
    /// The name it gave the connection, for the log.
    pub(crate) connection_name: Option<String>,
    /// It wants to know when a consumer of its ends.
    pub(crate) cancel_notify: bool,
    /// It may publish in the names of others.
    pub(crate) may_impersonate: bool,
    /// It wants to know when it is not read any more, and when again.
    pub(crate) blocked_notify: bool,
    /// It can be told that its login failed.
    authentication_failure_close: bool,
}

impl Client {
    /// In whose name it may publish; `None`: in anybody's.
    pub(crate) fn publisher(&self) -> Option<&str> {
        (!self.may_impersonate).then_some(self.user.as_str())
    }
}

/// The limits that both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) channel_max: u16,
    pub(crate) frame_bytes_max: u32,
    pub(crate) heartbeat_seconds: u16,
}

/// How far the handshake is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// `start` was written.
    Starting,
    /// `start-ok` came, and the password is being checked.
    Checking,
    /// `tune` was written.
    Tuning,
    /// `tune-ok` came.
    Opening(Limits),
}

/// A connection that is being opened.
#[derive(Debug)]
pub(crate) struct Handshake {
    stage: Stage,
    client: Client,
    /// How the client logs in, and what it says of itself.
    mechanism: String,
    client_properties: Table,
}

/// Where a method has led.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// On; the next method may come.
    On,
    /// Limits are agreed on.
    Tuned(Limits),
    /// The virtual host is entered.
    Opened { client: Client, limits: Limits, vhost: String },
    /// The client gives up.
    GivenUp,
    /// The login failed, and the client must not be told.
    Mute,
}

/// As RabbitMQ lists them, the likeliest first. EXTERNAL only for clients with a certificate.
const MECHANISMS: &[u8] = b"PLAIN AMQPLAIN";
const MECHANISMS_CERTIFIED: &[u8] = b"PLAIN AMQPLAIN EXTERNAL";

impl Handshake {
    /// The client has sent the protocol header: writes `connection.start`.
    pub(crate) fn start(settings: &AmqpSettings, gate: &dyn Gate, out: &mut Vec<u8>) -> Handshake {
        let certified = gate.certified_name().is_some();
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(settings),
            mechanisms: LongString(if certified { MECHANISMS_CERTIFIED } else { MECHANISMS }),
            locales: LongString(b"en_US"),
        };
        method::write(out, 0, &start);
        Handshake {
            stage: Stage::Starting,
            client: Client::default(),
            mechanism: String::new(),
            client_properties: Table::default(),
        }
    }

    /// Whether nothing more is taken from the client until a verdict comes.
    pub(crate) fn is_checking(&self) -> bool {
        matches!(self.stage, Stage::Checking)
    }

    /// The password has been checked.
    pub(crate) fn verdict(
        &mut self,
        verdict: Result<(), LoginRefusal>,
        settings: &AmqpSettings,
        gate: &dyn Gate,
        out: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        match verdict {
            Ok(()) => {
                self.stage = Stage::Tuning;
                self.client.may_impersonate = gate.may_impersonate();
                let tune = connection::Tune {
                    channel_max: settings.channel_max,
                    frame_max: frame_bytes_max(settings),
                    heartbeat: settings.heartbeat_seconds,
                };
                method::write(out, 0, &tune);
                Ok(Step::On)
            }
            Err(refusal) => {
                let peer = gate.peer().map(tracing::field::display);
                tracing::warn!(user = self.client.user, peer, %refusal, "AMQP login refused");
                if !self.client.authentication_failure_close {
                    return Ok(Step::Mute);
                }
                let text = format!(
                    "Login was refused using authentication mechanism {}. For details see the \
                     broker logfile.",
                    self.mechanism
                );
                Err(Fault::new(ReplyCode::AccessRefused, (0, 0), text))
            }
        }
    }

    /// Takes a method of channel 0.
    pub(crate) fn method(
        &mut self,
        id: MethodId,
        fields: &[u8],
        settings: &AmqpSettings,
        gate: &mut dyn Gate,
        out: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        let stage = self.stage;
        match (stage, id) {
            (Stage::Starting, (connection::CLASS, connection::StartOk::ID)) => {
                let start_ok: connection::StartOk<'_> = whole(id, fields)?;
                match self.start_ok(&start_ok, gate)? {
                    Ok(Admission::In) => self.verdict(Ok(()), settings, gate, out),
                    Ok(Admission::Pending) => {
                        self.stage = Stage::Checking;
                        Ok(Step::On)
                    }
                    Err(refusal) => self.verdict(Err(refusal), settings, gate, out),
                }
            }
            (Stage::Tuning, (connection::CLASS, connection::TuneOk::ID)) => {
                let limits = agree(&whole(id, fields)?, settings)?;
                self.stage = Stage::Opening(limits);
                Ok(Step::Tuned(limits))
            }
            (Stage::Opening(limits), (connection::CLASS, connection::Open::ID)) => {
                let open: connection::Open<'_> = whole(id, fields)?;
                self.open(&open, limits, gate, out)
            }
            (_, (connection::CLASS, connection::Close::ID)) => Ok(Step::GivenUp),
            (stage, _unexpected) => {
                let name = match stage {
                    Stage::Starting | Stage::Checking => "starting",
                    Stage::Tuning => "tuning",
                    Stage::Opening(_) => "opening",
                };
                let text = format!("unexpected method in connection state {name}");
                Err(Fault::new(ReplyCode::ChannelError, id, text))
            }
        }
    }

    fn start_ok(
        &mut self,
        start_ok: &connection::StartOk<'_>,
        gate: &mut dyn Gate,
    ) -> Result<Result<Admission, LoginRefusal>, Fault> {
        let properties = &start_ok.client_properties;
        self.client = Client {
            user: String::new(),
            connection_name: text(properties, "connection_name").map(str::to_owned),
            cancel_notify: is_capable(properties, "consumer_cancel_notify"),
            may_impersonate: false,
            blocked_notify: is_capable(properties, "connection.blocked"),
            authentication_failure_close: is_capable(properties, "authentication_failure_close"),
        };
        self.client_properties.clone_from(properties);
        let mechanism = String::from_utf8_lossy(start_ok.mechanism.0).into_owned();
        self.mechanism.clone_from(&mechanism);
        let response = start_ok.response.0;
        match &*mechanism {
            "PLAIN" => Ok(self.with_password(plain(response), gate)),
            "AMQPLAIN" => Ok(self.with_password(amqplain(response), gate)),
            // Whatever the response says: the certificate has said it.
            "EXTERNAL" if gate.certified_name().is_some() => {
                Ok(gate.login_certified().map(|user| {
                    self.client.user = user;
                    Admission::In
                }))
            }
            unknown => {
                let text = format!("unknown authentication mechanism '{unknown}'");
                let id = (connection::CLASS, connection::StartOk::ID);
                Err(Fault::new(ReplyCode::CommandInvalid, id, text))
            }
        }
    }

    fn with_password(
        &mut self,
        credentials: Option<Credentials>,
        gate: &mut dyn Gate,
    ) -> Result<Admission, LoginRefusal> {
        let Credentials { user, password } = credentials.ok_or(LoginRefusal::BadCredentials)?;
        let admission = gate.login(&user, &password);
        self.client.user = user;
        admission
    }

    fn open(
        &mut self,
        open: &connection::Open<'_>,
        limits: Limits,
        gate: &mut dyn Gate,
        out: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        let id = (connection::CLASS, connection::Open::ID);
        let vhost = String::from_utf8_lossy(open.virtual_host.0).into_owned();
        let user = &self.client.user;
        let told = Told {
            mechanism: std::mem::take(&mut self.mechanism),
            client_properties: std::mem::take(&mut self.client_properties),
            channel_max: limits.channel_max,
            frame_bytes_max: limits.frame_bytes_max,
            heartbeat_seconds: limits.heartbeat_seconds,
        };
        gate.enter(&vhost, told).map_err(|refusal| match refusal {
            ConnectRefusal::Full(full) => full_up(full, user, &vhost),
            ConnectRefusal::NoSuchVhost => {
                Fault::new(ReplyCode::NotAllowed, id, format_args!("vhost {vhost} not found"))
            }
            ConnectRefusal::NotAllowed => {
                let user = &self.client.user;
                let text = format_args!("access to vhost '{vhost}' refused for user '{user}'");
                Fault::new(ReplyCode::NotAllowed, id, text)
            }
            ConnectRefusal::Stopping => shutdown(),
            ConnectRefusal::Poisoned(poison) => Fault::new(ReplyCode::InternalError, id, poison),
        })?;
        method::write(out, 0, &connection::OpenOk { reserved_1: ShortString(b"") });
        Ok(Step::Opened { client: std::mem::take(&mut self.client), limits, vhost })
    }
}

fn full_up(full: Full, user: &str, vhost: &str) -> Fault {
    let text = match full {
        Full::Total(max) => {
            format!("connection refused: node connection limit ({max}) is reached")
        }
        Full::Vhost(max) => format!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is \
             reached"
        ),
        Full::User(max) => format!(
            "connection refused for user '{user}': user connection limit ({max}) is reached"
        ),
    };
    Fault::new(ReplyCode::NotAllowed, (connection::CLASS, connection::Open::ID), text)
}

/// What every client is told when the server stops.
pub(crate) fn shutdown() -> Fault {
    let text = "broker forced connection closure with reason 'shutdown'";
    Fault::new(ReplyCode::ConnectionForced, (0, 0), text)
}

fn whole<'a, M: Method<'a>>(id: MethodId, fields: &'a [u8]) -> Result<M, Fault> {
    method::read(fields).map_err(|malformed| garbled::fields(id, fields, malformed))
}

/// Less than the specification's least can't be offered.
fn frame_bytes_max(settings: &AmqpSettings) -> u32 {
    settings.frame_bytes_max.max(FRAME_BYTES_MIN)
}

/// A client may lower what was offered; 0 leaves it.
fn agree(tune_ok: &connection::TuneOk, settings: &AmqpSettings) -> Result<Limits, Fault> {
    let refused = |what: &str, asked: u32, how: &str, bound: u32| {
        let id = (connection::CLASS, connection::Tune::ID);
        let text = format!("negotiated {what} = {asked} is {how} allowed value ({bound})");
        Fault::new(ReplyCode::NotAllowed, id, text)
    };
    let (lower, higher) = ("lower than the minimum", "higher than the maximum");
    let ours = frame_bytes_max(settings);
    let frame_bytes_max = match tune_ok.frame_max {
        0 => ours,
        asked if asked < FRAME_BYTES_MIN => {
            return Err(refused("frame_max", asked, lower, FRAME_BYTES_MIN));
        }
        asked if asked > ours => return Err(refused("frame_max", asked, higher, ours)),
        asked => asked,
    };
    let channel_max = match (tune_ok.channel_max, settings.channel_max) {
        (0, 0) => u16::MAX,
        (0, ours) => ours,
        (asked, ours) if ours != 0 && asked > ours => {
            return Err(refused("channel_max", asked.into(), higher, ours.into()));
        }
        (asked, _) => asked,
    };
    Ok(Limits { channel_max, frame_bytes_max, heartbeat_seconds: tune_ok.heartbeat })
}

/// What can be done here, and is done.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

fn server_properties(settings: &AmqpSettings) -> Table {
    let mut capabilities = Table::default();
    for capability in CAPABILITIES {
        capabilities.push(capability, Value::Bool(true));
    }
    let mut properties = Table::default();
    properties.push("capabilities", Value::Table(capabilities));
    for (name, text) in [
        ("cluster_name", settings.cluster_name.as_str()),
        ("copyright", "Copyright (c) the Postroom authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", "Rust"),
        ("product", "Postroom"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        properties.push(name, Value::text(text));
    }
    properties
}

fn text<'a>(table: &'a Table, name: &str) -> Option<&'a str> {
    table.get(name).and_then(Value::as_text)
}

fn is_capable(properties: &Table, capability: &str) -> bool {
    match properties.get("capabilities") {
        Some(Value::Table(capabilities)) => {
            capabilities.get(capability) == Some(&Value::Bool(true))
        }
        _none => false,
    }
}

/// Who somebody says they are. Never printed.
struct Credentials {
    user: String,
    password: Vec<u8>,
}

/// RFC 4616: nobody to act for, NUL, the user, NUL, the password.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (acting_for, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !acting_for.is_empty() || password.contains(&0) {
        return None;
    }
    let user = std::str::from_utf8(user).ok()?.to_owned();
    Some(Credentials { user, password: password.to_vec() })
}

/// AMQP 0-8's own mechanism, the default of some PHP clients: a table without its length.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let mut bytes = u32::try_from(response.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend_from_slice(response);
    let table = Table::read(&mut Reader::new(&bytes)).ok()?;
    let user = text(&table, "LOGIN")?.to_owned();
    let Value::LongString(password) = table.get("PASSWORD")? else { return None };
    Some(Credentials { user, password: password.to_vec() })
}
