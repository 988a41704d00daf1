//! The language of the scripts: steps of a client and of a virtual host from words, operations and
//! frames back into words.

#![expect(clippy::indexing_slicing, reason = "a script that names too little may fail")]
#![expect(clippy::wildcard_enum_match_arm, reason = "only what scripts cause has words")]

use std::sync::Arc;

use broker::operation::{Answer, Operation, Outcome, REPLY_QUEUE, Tags, Verb};
use broker::{
    Alarms, Batch, Chunk, ChunkBuilder, Closing, ConnectRefusal, DeliveryRun, Event, Full,
    LoginRefusal, MessageHead, Persistence, Reply, Resource,
};
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::table::{Table, Value};

use crate::connection::{Admission, Connection, Gate, Patience, SignsOfLife, Told};
use crate::settings::AmqpSettings;
use crate::wire::field::LongString;
use crate::wire::frame::{self, PROTOCOL_HEADER};
use crate::wire::method::{self, basic, channel, confirm, connection, queue, tx};

/// Lets `guest` in, to `/`; with a certificate `CN=x` too.
#[derive(Default)]
pub(super) struct Guests {
    pub(super) certified_name: Option<&'static str>,
}

impl Gate for Guests {
    fn login(&mut self, user: &str, password: &[u8]) -> Result<Admission, LoginRefusal> {
        if user == "guest" && password == b"guest" {
            Ok(Admission::In)
        } else if user == "slow" || password == b"slow" {
            Ok(Admission::Pending)
        } else {
            Err(LoginRefusal::BadCredentials)
        }
    }

    fn make_name(&mut self, prefix: &str) -> Name {
        Name::new(&format!("{prefix}secret")).unwrap()
    }

    fn may_impersonate(&self) -> bool {
        false
    }

    fn enter(&mut self, vhost: &str, _told: Told) -> Result<(), ConnectRefusal> {
        match vhost {
            "/" => Ok(()),
            "full" => Err(ConnectRefusal::Full(Full::Vhost(3))),
            "busy-user" => Err(ConnectRefusal::Full(Full::User(2))),
            "busy-node" => Err(ConnectRefusal::Full(Full::Total(1))),
            _unknown => Err(ConnectRefusal::NoSuchVhost),
        }
    }

    fn certified_name(&self) -> Option<&str> {
        self.certified_name
    }

    fn login_certified(&mut self) -> Result<String, LoginRefusal> {
        let known = self.certified_name.filter(|name| *name == "CN=x");
        known.map(str::to_owned).ok_or(LoginRefusal::BadCredentials)
    }
}

pub(super) fn settings() -> AmqpSettings {
    AmqpSettings { message_bytes_max: 100_000, ..AmqpSettings::default() }
}

pub(super) fn frame_bytes(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = frame::begin(&mut out, kind, channel);
    out.extend(payload);
    frame::end(&mut out, &begun);
    out
}

pub(super) fn method_bytes<'a>(channel: u16, method: &impl method::Method<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    method::write(&mut out, channel, method);
    out
}

pub(super) fn header_bytes(
    channel: u16,
    class: u16,
    body_bytes: u64,
    properties: &[u8],
) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend([0, 0]);
    payload.extend(body_bytes.to_be_bytes());
    payload.extend(properties);
    frame_bytes(frame::HEADER, channel, &payload)
}

/// Properties of a persistent message.
pub(super) const PERSISTENT: [u8; 3] = [0x10, 0, 2];

/// Properties of a message with copies to `a`, `b` and, blind, `c`.
fn copies() -> Vec<u8> {
    let mut headers = Table::default();
    headers.push("CC", Value::Array(vec![Value::text("b"), Value::text("a")]));
    headers.push("BCC", Value::Array(vec![Value::text("c")]));
    let mut properties = vec![0x20, 0];
    headers.write(&mut properties);
    properties
}

/// Properties of a request with this reply-to.
fn reply_to(text: &str) -> Vec<u8> {
    [&[2, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

pub(super) fn start_ok(mechanism: &str, response: &[u8], capable: bool) -> Vec<u8> {
    let mut capabilities = Table::default();
    for name in ["authentication_failure_close", "connection.blocked", "consumer_cancel_notify"] {
        capabilities.push(name, Value::Bool(capable));
    }
    let mut client_properties = Table::default();
    client_properties.push("capabilities", Value::Table(capabilities));
    client_properties.push("connection_name", Value::text("test"));
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: LongString(response),
        locale: "en_US".into(),
    };
    method_bytes(0, &start_ok)
}

fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    method_bytes(0, &connection::TuneOk { channel_max, frame_max, heartbeat })
}

fn open(vhost: &str) -> Vec<u8> {
    let (virtual_host, reserved_1) = (vhost.into(), "".into());
    method_bytes(0, &connection::Open { virtual_host, reserved_1, reserved_2: 0 })
}

fn close(channel: u16) -> Vec<u8> {
    let (reply_code, reply_text, class_id, method_id) = (200, "bye".into(), 0, 0);
    if channel == 0 {
        method_bytes(0, &connection::Close { reply_code, reply_text, class_id, method_id })
    } else {
        method_bytes(channel, &channel::Close { reply_code, reply_text, class_id, method_id })
    }
}

/// The bytes of one step of a script, as the client sends them.
pub(super) fn client_bytes(words: &[&str]) -> Option<Vec<u8>> {
    let number = |at: usize| words.get(at).map_or(0, |word| word.parse::<u32>().unwrap());
    let number16 = |at: usize| u16::try_from(number(at)).unwrap();
    let text = |at: usize| words.get(at).copied().unwrap_or_default();
    let channel = words.get(1).map_or(0, |word| word.parse().unwrap_or_default());
    let publish = |flags| {
        let (exchange, routing_key) = ("x".into(), "k".into());
        method_bytes(channel, &basic::Publish { ticket: 0, exchange, routing_key, flags })
    };
    let body = |bytes: u32| frame_bytes(frame::BODY, channel, &vec![b'm'; bytes as usize]);
    Some(match words[0] {
        "hello" => PROTOCOL_HEADER.to_vec(),
        "login" => start_ok("PLAIN", b"\0guest\0guest", true),
        "login-deaf" => start_ok("PLAIN", b"\0guest\0guest", false),
        "tune-ok" => tune_ok(number16(1), number(2), number16(3)),
        "enter" => open(text(1)),
        "opened" => [
            PROTOCOL_HEADER.to_vec(),
            start_ok("PLAIN", b"\0guest\0guest", true),
            tune_ok(10, 4096, 8),
            open("/"),
        ]
        .concat(),
        "open" => method_bytes(channel, &channel::Open { reserved_1: "".into() }),
        "close" => close(channel),
        "close-ok" if channel == 0 => method_bytes(0, &connection::CloseOk {}),
        "close-ok" => method_bytes(channel, &channel::CloseOk {}),
        "flow" => {
            let flags = u8::try_from(number(2)).unwrap();
            method_bytes(channel, &channel::Flow { flags })
        }
        "declare" => {
            let (queue, arguments) = (text(2).into(), Table::default());
            let declare = queue::Declare { ticket: 0, queue, flags: 0, arguments };
            method_bytes(channel, &declare)
        }
        "get" => {
            let get = basic::Get { ticket: 0, queue: text(2).into(), flags: basic::Get::NO_ACK };
            method_bytes(channel, &get)
        }
        "replies" => {
            let (queue, consumer_tag) = (REPLY_QUEUE.into(), text(2).into());
            let (flags, arguments) = (basic::Consume::NO_ACK, Table::default());
            let consume = basic::Consume { ticket: 0, queue, consumer_tag, flags, arguments };
            method_bytes(channel, &consume)
        }
        "cancel" => {
            let consumer_tag = text(2).into();
            method_bytes(channel, &basic::Cancel { consumer_tag, flags: 0 })
        }
        "ack" => {
            let (delivery_tag, flags) = (number(2).into(), basic::Ack::MULTIPLE);
            method_bytes(channel, &basic::Ack { delivery_tag, flags })
        }
        "confirm" => method_bytes(channel, &confirm::Select { flags: confirm::Select::NO_WAIT }),
        "publish" => publish(0),
        "publish-immediate" => publish(basic::Publish::IMMEDIATE),
        "header" => header_bytes(channel, 60, number(2).into(), &PERSISTENT),
        "header-copies" => header_bytes(channel, 60, number(2).into(), &copies()),
        "header-reply" => header_bytes(channel, 60, number(2).into(), &reply_to(REPLY_QUEUE)),
        "header-of" => header_bytes(channel, number16(3), number(2).into(), &PERSISTENT),
        "body" => body(number(2)),
        "message-copies" => {
            let mut whole = publish(basic::Publish::MANDATORY);
            whole.extend(header_bytes(channel, 60, number(2).into(), &copies()));
            whole.extend(body(number(2)));
            whole
        }
        "message" => {
            let mut whole = publish(basic::Publish::MANDATORY);
            whole.extend(header_bytes(channel, 60, number(2).into(), &PERSISTENT));
            if number(2) > 0 {
                whole.extend(body(number(2)));
            }
            whole
        }
        "tx" => method_bytes(channel, &tx::Select {}),
        "commit" => method_bytes(channel, &tx::Commit {}),
        "rollback" => method_bytes(channel, &tx::Rollback {}),
        "heartbeat" => frame_bytes(frame::HEARTBEAT, channel, b""),
        "update-secret" => {
            let (new_secret, reason) = (LongString(text(1).as_bytes()), "r".into());
            method_bytes(0, &connection::UpdateSecret { new_secret, reason })
        }
        "frame" => frame_bytes(u8::try_from(number(2)).unwrap(), channel, text(3).as_bytes()),
        "bad-end" => {
            let mut bytes = frame_bytes(frame::HEARTBEAT, 0, b"");
            *bytes.last_mut().unwrap() = 0;
            bytes
        }
        "huge" => [&[frame::BODY, 0, 1][..], &u32::MAX.to_be_bytes()].concat(),
        "junk" => b"GET / HTTP/1.1\r\n".to_vec(),
        _host => return None,
    })
}

/// A chunk of one message with a body of so many bytes.
fn chunk(body_bytes: u32) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::default();
    let head = MessageHead {
        persistence: Persistence::Transient,
        exchange: "x",
        routing_key: b"k",
        properties: &[0, 0],
        ..MessageHead::default()
    };
    for _ in 0..3 {
        builder.message(&head, body_bytes);
        builder.body(&vec![b'm'; body_bytes as usize]);
        builder.end();
    }
    Arc::new(builder.finish())
}

/// What the virtual host says in one step of a script.
fn host_event(words: &[&str]) -> Event {
    let number = |at: usize| words.get(at).map_or(0, |word| word.parse::<u32>().unwrap());
    let channel = u16::try_from(number(1)).unwrap();
    let name = || Name::new("n").unwrap();
    let reply = |reply| Event::Reply { channel, reply };
    let refused = |verb, refusal| Event::Refused { channel, verb, refusal };
    match words[0] {
        "!opened" => reply(Reply::ChannelOpened),
        "!tx" => reply(Reply::TransactionsSelected),
        "!committed" => reply(Reply::Committed),
        "!rolled-back" => reply(Reply::RolledBack),
        "!closed" => reply(Reply::ChannelClosed),
        "!declared" => {
            reply(Reply::QueueDeclared { queue: name(), messages: 1 << 40, consumers: 2 })
        }
        "!refused" => refused(Verb::Consume, Refusal::NotFound(Kind::Queue, name())),
        "!refused-hard" => refused(Verb::Consume, Refusal::ConsumerTagTaken(name())),
        "!confirmed" => {
            Event::Confirmed { channel, first: number(2).into(), last: number(3).into() }
        }
        "!delivered" => Event::Delivered(DeliveryRun {
            channel,
            consumer_tag: name(),
            first_tag: 5,
            redelivered: true,
            counts: None,
            chunk: chunk(number(2)),
            first: 1,
            count: 2,
        }),
        "!got" => Event::Got {
            channel,
            tag: 3,
            redelivered: false,
            counts: None,
            remaining: 9,
            chunk: chunk(number(2)),
            index: 0,
        },
        "!got-nothing" => Event::GotNothing { channel },
        "!returned" => Event::Returned { channel, chunk: chunk(number(2)), index: 0 },
        "!cancelled" => Event::ConsumerCancelled { channel, consumer_tag: name() },
        "!shutdown" => Event::Closing(Closing::Shutdown),
        "!ended" => Event::Ended,
        unknown => panic!("no step {unknown}"),
    }
}

/// Frames as words: `1 queue.declare-ok`; a close with its text.
fn frames_told(bytes: &[u8], told: &mut Vec<String>) {
    let mut bytes = bytes;
    if bytes.starts_with(b"AMQP") {
        told.push("protocol header".to_owned());
        bytes = &bytes[8..];
    }
    while let Some((frame, rest)) = frame::take(bytes, u32::MAX).unwrap() {
        assert_eq!(frame.end, frame::END);
        bytes = rest;
        told.push(match frame.kind {
            frame::METHOD => method_told(frame.channel, frame.payload),
            frame::HEADER => format!("{} header", frame.channel),
            frame::BODY => format!("{} body {}", frame.channel, frame.payload.len()),
            frame::HEARTBEAT => "heartbeat".to_owned(),
            unknown => panic!("a frame of type {unknown}"),
        });
    }
    assert_eq!(bytes, b"", "whole frames only");
}

fn method_told(channel: u16, payload: &[u8]) -> String {
    let ((class, method), fields) = method::split(payload).unwrap();
    let entry = method::all().find(|entry| (entry.class, entry.method) == (class, method)).unwrap();
    assert!((entry.rewrite)(fields).is_ok(), "{} is malformed", entry.name);
    let details = match entry.name {
        "connection.close" | "channel.close" => {
            let close: connection::Close<'_> = method::read(fields).unwrap();
            let text = String::from_utf8_lossy(close.reply_text.0);
            format!(" {} {text} ({}, {})", close.reply_code, close.class_id, close.method_id)
        }
        "connection.tune" => {
            let tune: connection::Tune = method::read(fields).unwrap();
            format!(" {} {} {}", tune.channel_max, tune.frame_max, tune.heartbeat)
        }
        "connection.blocked" => {
            let blocked: connection::Blocked<'_> = method::read(fields).unwrap();
            format!(" {}", String::from_utf8_lossy(blocked.reason.0))
        }
        "basic.ack" => {
            let ack: basic::Ack = method::read(fields).unwrap();
            format!(" {}{}", ack.delivery_tag, if ack.flags == 0 { "" } else { " multiple" })
        }
        "basic.deliver" => {
            let deliver: basic::Deliver<'_> = method::read(fields).unwrap();
            format!(" {} {}", deliver.delivery_tag, deliver.flags)
        }
        "queue.declare-ok" => {
            let ok: queue::DeclareOk<'_> = method::read(fields).unwrap();
            format!(" {} {}", ok.message_count, ok.consumer_count)
        }
        _other => String::new(),
    };
    format!("{channel} {}{details}", entry.name)
}

fn operation_told(operation: &Operation) -> String {
    match operation {
        Operation::Publish(run) => {
            format!("+publish {} x{}", run.channel, run.count)
        }
        Operation::PublishAlso { run, also } => {
            let keys: Vec<_> = also.iter().map(|key| String::from_utf8_lossy(key)).collect();
            format!("+publish {} x{} also {}", run.channel, run.count, keys.join(","))
        }
        Operation::OpenChannel { channel } => format!("+open {channel}"),
        Operation::CloseChannel { channel, answer: Answer::Wanted } => format!("+close {channel}"),
        Operation::CloseChannel { channel, answer: Answer::Unwanted } => {
            format!("+close {channel} silently")
        }
        Operation::DeclareQueue { channel, queue, .. } => format!("+declare {channel} {queue}"),
        Operation::Cancel { channel, consumer_tag, .. } => {
            format!("+cancel {channel} {consumer_tag}")
        }
        Operation::Get { channel, queue, .. } => format!("+get {channel} {queue}"),
        Operation::Settle { channel, tags: Tags::UpTo(tag), outcome, .. } => {
            assert_eq!(*outcome, Outcome::Acknowledged);
            format!("+ack {channel} to {tag}")
        }
        Operation::ConsumeReplies { channel, consumer_tag, address, .. } => {
            format!("+replies {channel} {consumer_tag} {address}")
        }
        Operation::SelectTransactions { channel } => format!("+tx {channel}"),
        Operation::Commit { channel } => format!("+commit {channel}"),
        Operation::Rollback { channel } => format!("+rollback {channel}"),
        Operation::SelectConfirms { channel, answer } => format!("+confirm {channel} {answer:?}"),
        Operation::End => "+end".to_owned(),
        other => panic!("no word for {other:?}"),
    }
}

/// A connection and what came of it.
pub(super) struct Rig {
    connection: Connection,
    pub(super) gate: Guests,
    batch: Batch,
    out: Vec<u8>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        let connection = Connection::new(Arc::new(settings()));
        Rig { connection, gate: Guests::default(), batch: Batch::default(), out: Vec::new() }
    }

    /// A client's bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.connection.receive(bytes, &mut self.gate, &mut self.batch, &mut self.out);
    }

    /// The password was checked.
    pub(super) fn verdict(&mut self, verdict: Result<(), LoginRefusal>) {
        self.connection.verdict(verdict, &mut self.gate, &mut self.batch, &mut self.out);
    }

    /// The virtual host's word.
    pub(super) fn event(&mut self, event: &Event) {
        self.connection.event(event, &mut self.batch, &mut self.out);
    }

    /// One step of a script.
    pub(super) fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        match (words[0], client_bytes(&words)) {
            (_, Some(bytes)) => self.receive(&bytes),
            ("alarms", None) => {
                let raised = words.iter().fold(Alarms::default(), |alarms, word| match *word {
                    "disk" => alarms.with(Resource::Disk),
                    "memory" => alarms.with(Resource::Memory),
                    _none => alarms,
                });
                self.connection.alarms(raised, &mut self.out);
            }
            ("verdict", None) if words[1] == "yes" => self.verdict(Ok(())),
            ("verdict", None) => self.verdict(Err(LoginRefusal::BadCredentials)),
            ("checking?", None) => assert!(self.connection.is_checking()),
            ("blocked?", None) => assert!(self.connection.is_blocked()),
            ("unblocked?", None) => assert!(!self.connection.is_blocked()),
            ("silence", None) => self.connection.expire(SignsOfLife::default(), &mut self.out),
            (_, None) => self.event(&host_event(&words)),
        }
    }

    /// What came of everything so far.
    pub(super) fn told(&mut self) -> Vec<String> {
        let (operations, _) = std::mem::take(&mut self.batch).into_parts();
        // Every connection that opens introduces itself.
        let asked = operations.iter().filter(|it| !matches!(it, Operation::Introduce(_)));
        let mut told: Vec<String> = asked.map(operation_told).collect();
        frames_told(&std::mem::take(&mut self.out), &mut told);
        told
    }

    /// The same, untranslated.
    pub(super) fn raw(&mut self) -> (Vec<Operation>, Vec<Chunk>, Vec<u8>) {
        let (operations, chunks) = std::mem::take(&mut self.batch).into_parts();
        (operations, chunks, std::mem::take(&mut self.out))
    }

    /// The frames alone, in whatever history.
    pub(super) fn told_frames(&mut self) {
        frames_told(&std::mem::take(&mut self.out), &mut Vec::new());
    }

    pub(super) fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    pub(super) fn patience(&self) -> Patience {
        self.connection.patience()
    }
}

/// Runs the steps of a script, separated by `;`, and compares what came of them. What the script
/// begins with before a `|` is not looked at.
#[track_caller]
pub(super) fn check(script: &str, expected: &[&str]) {
    let mut rig = Rig::new();
    let (before, steps) = script.split_once('|').unwrap_or(("", script));
    for step in before.split(';').filter(|step| !step.trim().is_empty()) {
        rig.step(step);
    }
    rig.told();
    let mut found = Vec::new();
    for step in steps.split(';').filter(|step| !step.trim().is_empty()) {
        rig.step(step);
        found.extend(rig.told());
    }
    if rig.connection.is_over() {
        found.push("over".to_owned());
    }
    assert_eq!(found, expected, "{script}");
}
