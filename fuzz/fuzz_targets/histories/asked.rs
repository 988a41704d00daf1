//! What clients say: methods as bytes, from a small vocabulary, so that names meet; right and wrong
//! arguments, so that both ways are taken.

use amqp::wire::frame::{self, PROTOCOL_HEADER};
use stdx::reader::Reader;

use crate::heard::{CHANNEL_OPEN, Heard};

/// Numbers from the input; when it is used up, numbers that follow from it, so that short inputs
/// have long histories too.
pub struct Input<'a> {
    given: Reader<'a>,
    state: u64,
}

const NOISE: &[u8] = b"\x08amq.any!\0\0\0\x05x-ttlI\0\0\0\xff";

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        let hash =
            |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Input {
            given: Reader::new(bytes),
            state: bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash) | 1,
        }
    }

    pub fn byte(&mut self) -> u8 {
        if let Ok(byte) = self.given.u8() {
            return byte;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.to_be_bytes()[2]
    }

    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        match self.given.rest().len() {
            0 => &NOISE[..len % NOISE.len()],
            left => self.given.bytes(len.min(left)).unwrap_or_default(),
        }
    }

    fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}

/// Bits of declarations.
const DURABLE: u8 = 2;
const NO_WAIT: u8 = 16;

const QUEUES: [&str; 9] = ["q0", "q0", "q0", "q1", "q1", "q1", "q2", "", "amq.rabbitmq.reply-to"];
const EXCHANGES: [&str; 7] = ["", "", "x0", "x1", "amq.topic", "amq.headers", "amq.direct"];
const TYPES: [&str; 5] = ["direct", "fanout", "topic", "headers", "x-unknown"];
const TAGS: [&str; 4] = ["", "a", "b", "c"];
const ARGUMENTS: [&str; 20] = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-queue-type",
    "x-queue-mode",
    "alternate-exchange",
    "x-priority",
    "x-match",
    "x-death",
    "CC",
    "BCC",
];
const STRINGS: [&str; 16] = [
    "",
    "q0",
    "q1",
    "q2",
    "x0",
    "x1",
    "amq.rabbitmq.reply-to",
    "drop-head",
    "reject-publish",
    "reject-publish-dlx",
    "classic",
    "quorum",
    "lazy",
    "at-least-once",
    "all",
    "any",
];

fn short(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(255)];
    out.push(u8::try_from(text.len()).expect("cut"));
    out.extend(text);
}

fn long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).expect("small").to_be_bytes());
    out.extend(bytes);
}

/// What an argument of that name is mostly given as.
fn fitting(name: &str, input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match name {
        "x-overflow"
        | "x-dead-letter-exchange"
        | "x-dead-letter-routing-key"
        | "x-dead-letter-strategy"
        | "x-queue-type"
        | "x-queue-mode"
        | "alternate-exchange"
        | "x-match" => {
            out.push(b'S');
            long(&mut out, input.choose(&STRINGS).as_bytes());
        }
        "x-single-active-consumer" => out.extend([b't', input.byte() & 1]),
        "CC" | "BCC" => {
            let mut keys = vec![b'S'];
            long(&mut keys, input.choose(&STRINGS).as_bytes());
            out.push(b'A');
            long(&mut out, &keys);
        }
        _number => {
            out.push(b'I');
            out.extend(i32::from(input.byte()).to_be_bytes());
        }
    }
    out
}

/// Any value, fitting or not, whole or not.
fn any_value(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match input.byte() % 8 {
        0 => {
            out.push(b'l');
            out.extend(
                (i64::from(input.number()) << input.byte() % 48).wrapping_neg().to_be_bytes(),
            );
        }
        1 => out.push(b'V'),
        2 => {
            out.push(b'F');
            let mut inner = Vec::new();
            short(&mut inner, b"inner");
            inner.extend(fitting("x-max-length", input));
            long(&mut out, &inner);
        }
        3 => {
            out.push(b'd');
            out.extend(f64::from(input.number()).to_be_bytes());
        }
        4 => {
            out.push(b'x');
            long(&mut out, input.bytes());
        }
        5 => out.extend(input.bytes()),
        _text => {
            out.push(b'S');
            long(&mut out, input.bytes());
        }
    }
    out
}

fn table(out: &mut Vec<u8>, input: &mut Input<'_>) {
    let mut entries = Vec::new();
    for _ in 0..input.byte() % 4 {
        let name = input.choose(&ARGUMENTS);
        short(&mut entries, name.as_bytes());
        let fits = input.byte() % 8 != 0;
        entries.extend(if fits { fitting(name, input) } else { any_value(input) });
    }
    long(out, &entries);
}

fn put_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = frame::begin(&mut out, kind, channel);
    out.extend_from_slice(payload);
    frame::end(&mut out, &begun);
    out
}

pub fn method(channel: u16, (class, method): (u16, u16), fields: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(class.to_be_bytes());
    payload.extend(method.to_be_bytes());
    payload.extend(fields);
    put_frame(frame::METHOD, channel, &payload)
}

pub fn handshake() -> Vec<u8> {
    let mut start_ok = Vec::new();
    long(&mut start_ok, b"");
    short(&mut start_ok, b"PLAIN");
    long(&mut start_ok, b"\0guest\0guest");
    short(&mut start_ok, b"en_US");
    let mut tune_ok = crate::CHANNEL_MAX.to_be_bytes().to_vec();
    tune_ok.extend(crate::FRAME_BYTES_MAX.to_be_bytes());
    tune_ok.extend([0, 60]);
    let mut said = PROTOCOL_HEADER.to_vec();
    said.extend(method(0, (10, 11), &start_ok));
    said.extend(method(0, (10, 31), &tune_ok));
    said.extend(method(0, (10, 40), b"\x01/\0\0"));
    // Two channels are there from the start.
    said.extend(method(1, CHANNEL_OPEN, b"\0"));
    said.extend(method(2, CHANNEL_OPEN, b"\0"));
    said
}

/// What is there from the start, so that not all is refused: an exchange of each kind, two queues.
pub fn furniture() -> Vec<u8> {
    let mut said = Vec::new();
    for (name, kind) in [("x0", "topic"), ("x1", "fanout")] {
        let mut fields = vec![0, 0];
        short(&mut fields, name.as_bytes());
        short(&mut fields, kind.as_bytes());
        fields.extend([DURABLE | NO_WAIT, 0, 0, 0, 0]);
        said.extend(method(1, (40, 10), &fields));
    }
    for name in ["q0", "q1"] {
        let mut fields = vec![0, 0];
        short(&mut fields, name.as_bytes());
        fields.extend([DURABLE | NO_WAIT]);
        let mut arguments = Vec::new();
        if name == "q1" {
            short(&mut arguments, b"x-dead-letter-exchange");
            arguments.push(b'S');
            long(&mut arguments, b"x0");
        }
        long(&mut fields, &arguments);
        said.extend(method(1, (50, 10), &fields));
        let mut binding = vec![0, 0];
        short(&mut binding, name.as_bytes());
        short(&mut binding, b"x0");
        short(&mut binding, b"#");
        binding.extend([1, 0, 0, 0, 0]);
        said.extend(method(1, (50, 20), &binding));
    }
    said
}

/// A publish: method, header and body.
fn publish(channel: u16, input: &mut Input<'_>, heard: &mut Heard) -> Vec<u8> {
    let mut fields = vec![0, 0];
    short(&mut fields, input.choose(&EXCHANGES).as_bytes());
    short(&mut fields, input.choose(&STRINGS).as_bytes());
    fields.push(input.byte() & 1);
    let size = match input.byte() {
        0 => 60_000,
        small => usize::from(small),
    };
    let mut header = vec![0, 60, 0, 0];
    header.extend(u64::try_from(size).expect("small").to_be_bytes());
    let present = input.byte();
    let flags = [0x3000, 0x800, 0x200, 0x100, 0x10];
    let chosen = flags.iter().enumerate().filter(|(place, _)| present & 1 << place != 0);
    header.extend(chosen.map(|(_, flag)| flag).sum::<u16>().to_be_bytes());
    if present & 1 != 0 {
        table(&mut header, input);
        header.push(input.byte() % 4);
    }
    if present & 2 != 0 {
        header.push(input.byte());
    }
    if present & 4 != 0 {
        short(&mut header, input.choose(&STRINGS).as_bytes());
    }
    if present & 8 != 0 {
        let expiration = input.choose(&["0", "1", "50", "200", "1000", "60000", "soon"]);
        short(&mut header, expiration.as_bytes());
    }
    if present & 16 != 0 {
        short(
            &mut header,
            input
                .choose(&["guest", "guest", "guest", "guest", "guest", "guest", "other"])
                .as_bytes(),
        );
    }
    let mut said = method(channel, (60, 40), &fields);
    said.extend(put_frame(frame::HEADER, channel, &header));
    let body = vec![7; size];
    for piece in body.chunks(4088) {
        said.extend(put_frame(frame::BODY, channel, piece));
    }
    heard.published(channel);
    said
}

/// The next request of a client, which notes what it may expect.
pub fn something(input: &mut Input<'_>, heard: &mut Heard) -> Vec<u8> {
    let channel = match input.byte() {
        255 => input.number(),
        254 => 3,
        few => u16::from(few % 2) + 1,
    };
    let mut fields = Vec::new();
    let mut bits = input.byte();
    let choice = input.byte() % 40;
    if choice < 10 {
        return publish(channel, input, heard);
    }
    let queue = |fields: &mut Vec<u8>, input: &mut Input<'_>| {
        fields.extend([0, 0]);
        short(fields, input.choose(&QUEUES).as_bytes());
    };
    let exchange = |fields: &mut Vec<u8>, input: &mut Input<'_>| {
        short(fields, input.choose(&EXCHANGES).as_bytes());
    };
    let key = |fields: &mut Vec<u8>, input: &mut Input<'_>| {
        short(fields, input.choose(&["q0", "q1", "#", "*.q0", ""]).as_bytes());
    };
    // The bit that says that no answer is wanted.
    let mut no_wait = 0;
    let id = match choice {
        10 if bits < 32 => {
            short(&mut fields, b"");
            CHANNEL_OPEN
        }
        11 if bits < 32 => {
            fields.extend([0, 200, 0, 0, 0, 0, 0]);
            (20, 40)
        }
        10..13 => {
            // Seldom passive, exclusive or without an answer.
            bits &= !(input.byte() | input.byte()) | 0xa;
            queue(&mut fields, input);
            fields.push(bits & 0x1f);
            table(&mut fields, input);
            no_wait = 16;
            (50, 10)
        }
        19..21 => {
            queue(&mut fields, input);
            exchange(&mut fields, input);
            key(&mut fields, input);
            fields.push(bits & 1);
            table(&mut fields, input);
            no_wait = 1;
            (50, 20)
        }
        21 => {
            queue(&mut fields, input);
            exchange(&mut fields, input);
            key(&mut fields, input);
            table(&mut fields, input);
            (50, 50)
        }
        22 => {
            queue(&mut fields, input);
            fields.push(bits & 1);
            no_wait = 1;
            (50, 30)
        }
        23 => {
            queue(&mut fields, input);
            fields.push(bits & 7);
            no_wait = 4;
            (50, 40)
        }
        24..26 => {
            fields.extend([0, 0]);
            exchange(&mut fields, input);
            short(&mut fields, input.choose(&TYPES).as_bytes());
            fields.push(bits & 0x1f);
            table(&mut fields, input);
            no_wait = 16;
            (40, 10)
        }
        26 => {
            fields.extend([0, 0]);
            exchange(&mut fields, input);
            fields.push(bits & 3);
            no_wait = 2;
            (40, 20)
        }
        27 => {
            fields.extend([0, 0]);
            exchange(&mut fields, input);
            exchange(&mut fields, input);
            key(&mut fields, input);
            fields.push(bits & 1);
            table(&mut fields, input);
            no_wait = 1;
            if bits & 2 == 0 { (40, 30) } else { (40, 40) }
        }
        28 => {
            fields.extend([0, 0, 0, 0, 0, input.byte() % 4, bits & 1]);
            (60, 10)
        }
        13..19 | 29..32 => {
            queue(&mut fields, input);
            short(&mut fields, input.choose(&TAGS).as_bytes());
            fields.push(bits & 0xf);
            table(&mut fields, input);
            no_wait = 8;
            (60, 20)
        }
        32 => {
            short(&mut fields, input.choose(&TAGS).as_bytes());
            fields.push(bits & 1);
            no_wait = 1;
            (60, 30)
        }
        33..35 => {
            queue(&mut fields, input);
            fields.push(bits & 1);
            (60, 70)
        }
        35..37 => {
            // Mostly what was delivered, though perhaps settled already.
            let newest = heard.newest_tag(channel).max(1);
            let tag = u64::from(input.byte()) % (newest + u64::from(input.byte() % 16 == 0)) + 1;
            fields.extend(tag.to_be_bytes());
            fields.push(bits & 3);
            input.choose(&[(60, 80), (60, 90), (60, 120)])
        }
        37 => {
            fields.push(bits & 1);
            input.choose(&[(60, 100), (60, 110), (20, 20)])
        }
        38 => {
            fields.push(bits & 1);
            no_wait = 1;
            (85, 10)
        }
        _transactions => input.choose(&[(90, 10), (90, 20), (90, 30)]),
    };
    let waits = no_wait == 0 || bits & no_wait == 0;
    heard.asked(channel, id, waits);
    method(channel, id, &fields)
}
