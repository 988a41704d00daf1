//! What a client hears, and what it may rely on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amqp::wire::frame::{self, PROTOCOL_HEADER};
use amqp::wire::method;

use crate::{FRAME_BYTES_MAX, asked};

type MethodId = (u16, u16);

pub const CHANNEL_OPEN: MethodId = (20, 10);
const CHANNEL_OPEN_OK: MethodId = (20, 11);
const FLOW: MethodId = (20, 20);
const FLOW_OK: MethodId = (20, 21);
const CHANNEL_CLOSE: MethodId = (20, 40);
const CHANNEL_CLOSE_OK: MethodId = (20, 41);
const CONFIRM_SELECT: MethodId = (85, 10);
const ACK: MethodId = (60, 80);
const NACK: MethodId = (60, 120);
const DELIVER: MethodId = (60, 60);
const GET_OK: MethodId = (60, 71);
const RETURN: MethodId = (60, 50);

/// Request, and the answers it may get besides a close.
const ANSWERS: [(MethodId, &[MethodId]); 21] = [
    (CHANNEL_OPEN, &[CHANNEL_OPEN_OK]),
    (CHANNEL_CLOSE, &[CHANNEL_CLOSE_OK]),
    (FLOW, &[FLOW_OK]),
    ((40, 10), &[(40, 11)]),
    ((40, 20), &[(40, 21)]),
    ((40, 30), &[(40, 31)]),
    ((40, 40), &[(40, 51)]),
    ((50, 10), &[(50, 11)]),
    ((50, 20), &[(50, 21)]),
    ((50, 30), &[(50, 31)]),
    ((50, 40), &[(50, 41)]),
    ((50, 50), &[(50, 51)]),
    ((60, 10), &[(60, 11)]),
    ((60, 20), &[(60, 21)]),
    ((60, 30), &[(60, 31)]),
    ((60, 70), &[GET_OK, (60, 72)]),
    ((60, 110), &[(60, 111)]),
    (CONFIRM_SELECT, &[(85, 11)]),
    ((90, 10), &[(90, 11)]),
    ((90, 20), &[(90, 21)]),
    ((90, 30), &[(90, 31)]),
];

/// A channel, as the client knows it.
#[derive(Default)]
struct Channel {
    /// `open-ok` came, and nothing that closed it again.
    open: bool,
    /// The server closed it and waits for `close-ok`.
    closing: bool,
    waiting: VecDeque<MethodId>,
    newest_tag: u64,
    /// In confirm mode: the number of the newest publish, and those not answered.
    confirms: Option<(u64, BTreeSet<u64>)>,
    /// A method with content came: so many bytes of body are to come, once the header is there.
    content: Option<Option<u64>>,
}

/// What one client has heard and waits for.
#[derive(Default)]
pub struct Heard {
    channels: BTreeMap<u16, Channel>,
    /// It said what is no method: nothing can be expected any more.
    pub wild: bool,
    /// The server has closed the connection.
    pub over: bool,
}

impl Heard {
    /// The client asks for something.
    pub fn asked(&mut self, number: u16, id: MethodId, waits: bool) {
        let channel = self.channels.entry(number).or_default();
        if channel.closing {
            return;
        }
        if id == CONFIRM_SELECT && channel.confirms.is_none() {
            channel.confirms = Some(Default::default());
        }
        if waits && ANSWERS.iter().any(|(request, _)| *request == id) {
            channel.waiting.push_back(id);
        }
    }

    /// The newest delivery tag of a channel.
    pub fn newest_tag(&self, number: u16) -> u64 {
        self.channels.get(&number).map_or(0, |channel| channel.newest_tag)
    }

    /// The client has published a whole message.
    pub fn published(&mut self, number: u16) {
        let channel = self.channels.entry(number).or_default();
        if let (false, Some((newest, unanswered))) = (channel.closing, &mut channel.confirms) {
            *newest += 1;
            unanswered.insert(*newest);
        }
    }

    /// What a client does by itself: it answers `close-ok` where the server has closed a channel, and
    /// opens it again.
    pub fn manners(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        if self.over {
            return said;
        }
        for (number, channel) in &mut self.channels {
            if channel.closing {
                *channel = Channel::default();
                channel.waiting.push_back(CHANNEL_OPEN);
                said.extend(asked::method(*number, CHANNEL_CLOSE_OK, b""));
                said.extend(asked::method(*number, CHANNEL_OPEN, b"\0"));
            }
        }
        said
    }

    /// When everything has come to rest.
    pub fn all_is_answered(&self, over: bool) {
        if self.wild || self.over || over {
            return;
        }
        for (number, channel) in &self.channels {
            assert!(channel.waiting.is_empty(), "channel {number} waits: {:?}", channel.waiting);
            assert!(channel.content.is_none(), "channel {number}: half a message");
            if let Some((_, unanswered)) = &channel.confirms {
                assert!(unanswered.is_empty(), "channel {number}, unconfirmed: {unanswered:?}");
            }
        }
    }

    /// Whole frames come, none larger than agreed.
    pub fn frames(&mut self, out: &[u8]) {
        let mut left = out.strip_prefix(&PROTOCOL_HEADER).unwrap_or(out);
        while !left.is_empty() {
            let taken = frame::take(left, FRAME_BYTES_MAX - frame::OVERHEAD_BYTES);
            let (taken, rest) = taken.expect("no larger than agreed").expect("whole frames");
            assert_eq!(taken.end, frame::END);
            match taken.kind {
                frame::METHOD => {
                    let (id, fields) = method::split(taken.payload).expect("a whole method");
                    self.method(taken.channel, id, fields);
                }
                frame::HEADER => self.header(taken.channel, taken.payload),
                frame::BODY => self.body(taken.channel, taken.payload),
                frame::HEARTBEAT => assert_eq!(taken.channel, 0),
                unknown => panic!("a frame of type {unknown}"),
            }
            left = rest;
        }
    }

    fn method(&mut self, number: u16, id: MethodId, fields: &[u8]) {
        if number == 0 {
            assert_eq!(id.0, 10, "channel 0 is the connection's");
            self.over |= id == (10, 50);
            return;
        }
        let channel = self.channels.entry(number).or_default();
        assert!(channel.content.is_none(), "{id:?} inside the content of channel {number}");
        assert!(!self.over, "{id:?} after connection.close");
        match id {
            CHANNEL_OPEN_OK => {
                assert!(!channel.open && !channel.closing, "channel {number} opens twice");
                channel.open = true;
            }
            CHANNEL_CLOSE => {
                assert!(channel.open, "channel {number} closes twice");
                *channel = Channel { closing: true, ..Channel::default() };
                return;
            }
            CHANNEL_CLOSE_OK => {
                assert!(channel.open || channel.closing, "channel {number} was not open");
                // When both have closed it, the server's own close is still to be answered.
                *channel = Channel { closing: channel.closing, ..Channel::default() };
                return;
            }
            _other => assert!(channel.open, "{id:?} on channel {number}, which is not open"),
        }
        match id {
            DELIVER | GET_OK | RETURN => channel.content = Some(None),
            ACK | NACK => channel.confirmed(fields, self.wild),
            _other => {}
        }
        if id == DELIVER {
            let at = 1 + usize::from(fields[0]);
            channel.tagged(&fields[at..]);
        } else if id == GET_OK {
            channel.tagged(fields);
        }
        let unasked = [DELIVER, RETURN, ACK, NACK, (60, 30)];
        if !self.wild && !unasked.contains(&id) {
            // Flow is the connection's own affair, and is answered at once.
            let flow = channel.waiting.iter().position(|request| *request == FLOW);
            let place = if id == FLOW_OK { flow } else { Some(0) };
            let request = place.and_then(|at| channel.waiting.remove(at)).expect("it was asked");
            let (_, answers) = ANSWERS.iter().find(|(each, _)| *each == request).expect("listed");
            assert!(answers.contains(&id), "{request:?} is answered with {id:?}");
        }
    }

    fn header(&mut self, number: u16, payload: &[u8]) {
        let channel = self.channels.entry(number).or_default();
        assert_eq!(channel.content, Some(None), "a header of nothing");
        let size = u64::from_be_bytes(payload[4..12].try_into().expect("eight bytes"));
        channel.content = (size > 0).then_some(Some(size));
    }

    fn body(&mut self, number: u16, payload: &[u8]) {
        let channel = self.channels.entry(number).or_default();
        let Some(Some(left)) = channel.content else { panic!("a body of nothing") };
        let left = left.checked_sub(payload.len() as u64).expect("no more than announced");
        channel.content = (left > 0).then_some(Some(left));
    }
}

impl Channel {
    fn tagged(&mut self, fields: &[u8]) {
        let tag = u64::from_be_bytes(fields[..8].try_into().expect("eight bytes"));
        assert_eq!(tag, self.newest_tag + 1, "delivery tags count up by one");
        self.newest_tag = tag;
    }

    fn confirmed(&mut self, fields: &[u8], wild: bool) {
        let tag = u64::from_be_bytes(fields[..8].try_into().expect("eight bytes"));
        let multiple = fields[8] & 1 != 0;
        if wild {
            return;
        }
        let (newest, unanswered) = self.confirms.as_mut().expect("in confirm mode");
        assert!(tag > 0 && tag <= *newest, "confirms what was never published");
        assert!(unanswered.remove(&tag), "publish {tag} is answered twice");
        if multiple {
            unanswered.retain(|each| *each > tag);
        }
    }
}
