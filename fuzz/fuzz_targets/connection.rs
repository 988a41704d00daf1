//! Whole histories of a connection: a client's bytes, well-formed and not, however cut; events of a
//! virtual host, fitting and not; time. Whatever happens, whole frames go out, never larger than
//! agreed, and after the end nothing more.

#![no_main]

use std::sync::Arc;

use amqp::connection::SignsOfLife;
use amqp::wire::field::LongString;
use amqp::wire::frame::{self, PROTOCOL_HEADER};
use amqp::wire::method::{self, Method, basic, channel, confirm, connection, exchange, queue};
use amqp::{Admission, AmqpSettings, Connection, Gate, Told};
use broker::operation::{Operation, REPLY_QUEUE, Verb};
use broker::{
    Alarms, Batch, Chunk, ChunkBuilder, Closing, ConnectRefusal, DeliveryRun, Event, LoginRefusal,
    MessageHead, Reply, Resource,
};
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::table::Table;
use libfuzzer_sys::fuzz_target;
use stdx::reader::Reader;

const FRAME_BYTES_MAX: u32 = 4096;

struct Guests;

impl Gate for Guests {
    fn login(&mut self, user: &str, _password: &[u8]) -> Result<Admission, LoginRefusal> {
        match user {
            "guest" => Ok(Admission::In),
            "slow" => Ok(Admission::Pending),
            _unknown => Err(LoginRefusal::BadCredentials),
        }
    }

    fn may_impersonate(&self) -> bool {
        false
    }

    fn make_name(&mut self, prefix: &str) -> Name {
        Name::new(prefix).unwrap_or_default()
    }

    fn enter(&mut self, vhost: &str, _told: Told) -> Result<(), ConnectRefusal> {
        if vhost == "/" { Ok(()) } else { Err(ConnectRefusal::NoSuchVhost) }
    }

    fn certified_name(&self) -> Option<&str> {
        Some("CN=client")
    }

    fn login_certified(&mut self) -> Result<String, LoginRefusal> {
        Ok("CN=client".to_owned())
    }
}

/// Numbers from the input; zeros when it is used up.
struct Input<'a>(Reader<'a>);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.0.u8().unwrap_or(0)
    }

    fn number(&mut self) -> u16 {
        self.0.u16().unwrap_or(0)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        let len = len.min(self.0.rest().len());
        self.0.bytes(len).unwrap_or_default()
    }

    /// Mostly a few small channels.
    fn channel(&mut self) -> u16 {
        match self.byte() {
            255 => self.number(),
            few => u16::from(few % 4),
        }
    }
}

fn put<'a>(channel: u16, method: &impl Method<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    method::write(&mut out, channel, method);
    out
}

fn put_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = frame::begin(&mut out, kind, channel);
    out.extend_from_slice(payload);
    frame::end(&mut out, &begun);
    out
}

fn handshake() -> Vec<u8> {
    let start_ok = connection::StartOk {
        client_properties: Table::default(),
        mechanism: "PLAIN".into(),
        response: LongString(b"\0guest\0guest"),
        locale: "en_US".into(),
    };
    let tune_ok = connection::TuneOk { channel_max: 9, frame_max: FRAME_BYTES_MAX, heartbeat: 5 };
    let open = connection::Open { virtual_host: "/".into(), reserved_1: "".into(), reserved_2: 0 };
    [PROTOCOL_HEADER.to_vec(), put(0, &start_ok), put(0, &tune_ok), put(0, &open)].concat()
}

/// A client's next bytes.
fn client(input: &mut Input<'_>) -> Vec<u8> {
    let channel = input.channel();
    let flags = input.byte();
    let (reply_code, reply_text, class_id, method_id) = (200, "".into(), 0, 0);
    match input.byte() % 20 {
        0 => handshake(),
        1 => put(channel, &channel::Open { reserved_1: "".into() }),
        2 => put(channel, &channel::Close { reply_code, reply_text, class_id, method_id }),
        3 => put(channel, &channel::CloseOk {}),
        4 => {
            let (exchange, routing_key) = ("x".into(), "k".into());
            put(channel, &basic::Publish { ticket: 0, exchange, routing_key, flags: flags & 1 })
        }
        5 => {
            let mut payload = vec![0, 60, 0, 0];
            payload.extend(u64::from(input.number()).to_be_bytes());
            payload.extend(if flags & 1 == 0 { &[0, 0][..] } else { &[0x10, 0, 2] });
            payload.extend(if flags & 2 == 0 { &[][..] } else { input.bytes() });
            put_frame(frame::HEADER, channel, &payload)
        }
        6 => {
            let size = usize::from(input.number() % 4089);
            put_frame(frame::BODY, channel, &vec![flags; size])
        }
        7 => {
            let size = u8::try_from(input.bytes().len()).unwrap_or(0);
            let (exchange, routing_key) = ("".into(), "q".into());
            let publish = basic::Publish { ticket: 0, exchange, routing_key, flags: flags & 1 };
            let mut whole = put(channel, &publish);
            let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, size, 0x10, 0, 2];
            whole.extend(put_frame(frame::HEADER, channel, &header));
            if size > 0 {
                whole.extend(put_frame(frame::BODY, channel, &vec![7; size.into()]));
            }
            whole
        }
        8 => {
            let (queue, arguments) = ("q".into(), Table::default());
            put(channel, &queue::Declare { ticket: 0, queue, flags, arguments })
        }
        9 => {
            let (exchange, exchange_type, arguments) =
                ("x".into(), "topic".into(), Table::default());
            let declare =
                exchange::Declare { ticket: 0, exchange, exchange_type, flags, arguments };
            put(channel, &declare)
        }
        10 => {
            let (queue, consumer_tag, arguments) = ("q".into(), "c".into(), Table::default());
            put(channel, &basic::Consume { ticket: 0, queue, consumer_tag, flags, arguments })
        }
        11 => put(channel, &basic::Ack { delivery_tag: input.number().into(), flags }),
        12 => put(channel, &confirm::Select { flags }),
        13 => put_frame(frame::HEARTBEAT, channel, b""),
        14 => put(0, &connection::Close { reply_code, reply_text, class_id, method_id }),
        15 => put(0, &connection::CloseOk {}),
        // Any fields for any method, and any bytes at all.
        16 => {
            let mut payload = Vec::new();
            let choice = usize::from(input.byte()) % method::all().count();
            for entry in method::all().skip(choice).take(1) {
                payload.extend(entry.class.to_be_bytes());
                payload.extend(entry.method.to_be_bytes());
            }
            payload.extend(input.bytes());
            put_frame(flags, channel, &payload)
        }
        17 => {
            let (queue, consumer_tag) = (REPLY_QUEUE.into(), "r".into());
            let arguments = Table::default();
            put(channel, &basic::Consume { ticket: 0, queue, consumer_tag, flags, arguments })
        }
        // A header with a reply-to, perhaps that of direct replies.
        18 => {
            let reply_to = if flags & 1 == 0 { REPLY_QUEUE.as_bytes() } else { input.bytes() };
            let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags & 4, 2, 0];
            payload.push(u8::try_from(reply_to.len()).unwrap_or(u8::MAX));
            payload.extend(reply_to);
            put_frame(frame::HEADER, channel, &payload)
        }
        _any => input.bytes().to_vec(),
    }
}

fn chunk(body_bytes: u16) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::default();
    let head = MessageHead { exchange: "x", routing_key: b"k", ..MessageHead::default() };
    for _ in 0..3 {
        builder.message(&head, body_bytes.into());
        builder.body(&vec![1; body_bytes.into()]);
        builder.end();
    }
    Arc::new(builder.finish())
}

/// What the virtual host says next.
fn host(input: &mut Input<'_>) -> Event {
    let channel = input.channel();
    let name = || Name::new("n").expect("a short name");
    let reply = |reply| Event::Reply { channel, reply };
    let refused = |verb, refusal| Event::Refused { channel, verb, refusal };
    match input.byte() % 14 {
        0..4 => reply(Reply::ChannelOpened),
        4 => reply(Reply::ChannelClosed),
        5 => reply(Reply::QueueDeclared { queue: name(), messages: 1, consumers: 1 }),
        6 => refused(Verb::Publish, Refusal::NotFound(Kind::Exchange, name())),
        7 => refused(Verb::Consume, Refusal::ConsumerTagTaken(name())),
        8 => {
            let first = input.number().into();
            Event::Confirmed { channel, first, last: first + u64::from(input.byte()) }
        }
        9 => Event::Delivered(DeliveryRun {
            channel,
            consumer_tag: name(),
            first_tag: input.number().into(),
            redelivered: false,
            counts: None,
            chunk: chunk(input.number()),
            first: 0,
            count: 3,
        }),
        10 => Event::Returned { channel, chunk: chunk(input.number()), index: 0 },
        11 => Event::ConsumerCancelled { channel, consumer_tag: name() },
        12 => Event::Closing(Closing::Shutdown),
        _last => Event::Ended,
    }
}

/// Whole frames of known methods, none larger than agreed.
fn check_frames(out: &[u8]) {
    let mut left = out.strip_prefix(&PROTOCOL_HEADER).unwrap_or(out);
    while !left.is_empty() {
        let taken = frame::take(left, FRAME_BYTES_MAX - frame::OVERHEAD_BYTES);
        let (taken, rest) = taken.expect("no larger than agreed").expect("whole frames");
        assert_eq!(taken.end, frame::END);
        if taken.kind == frame::METHOD {
            let (id, fields) = method::split(taken.payload).expect("a whole method");
            let known = method::all().find(|entry| (entry.class, entry.method) == id);
            assert!((known.expect("a known method").rewrite)(fields).is_ok());
        }
        left = rest;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(Reader::new(bytes));
    let settings = AmqpSettings { message_bytes_max: 50_000, ..AmqpSettings::default() };
    let mut connection = Connection::new(Arc::new(settings));
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let mut ends = 0;
    if input.byte() % 8 != 0 {
        connection.receive(&handshake(), &mut Guests, &mut batch, &mut out);
    }
    while !input.0.is_empty() {
        let was_over = connection.is_over();
        match input.byte() % 16 {
            0 => {
                let signs = SignsOfLife { heard: false, spoke: true };
                connection.expire(signs, &mut out);
            }
            15 => {
                let alarms = [Alarms::default(), Alarms::default().with(Resource::Disk)];
                connection.alarms(alarms[usize::from(input.byte() % 2)], &mut out);
            }
            1..5 => connection.event(&host(&mut input), &mut batch, &mut out),
            cut => {
                let bytes = client(&mut input);
                let at = if cut == 5 { usize::from(input.byte()).min(bytes.len()) } else { 0 };
                let (front, rest) = bytes.split_at(at);
                connection.receive(front, &mut Guests, &mut batch, &mut out);
                connection.receive(rest, &mut Guests, &mut batch, &mut out);
            }
        }
        check_frames(&out);
        let (operations, _chunks) = std::mem::take(&mut batch).into_parts();
        assert!(!was_over || (out.is_empty() && operations.is_empty()), "silence after the end");
        assert!(ends == 0 || operations.is_empty(), "no operation after the session's end");
        let end = operations.iter().position(|operation| matches!(operation, Operation::End));
        if let Some(end) = end {
            assert_eq!(end, operations.len() - 1, "the session's end is the last operation");
            ends += 1;
        }
        out.clear();
    }
});
