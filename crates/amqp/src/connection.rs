//! A connection without its socket: bytes and time go in, operations for the virtual host and bytes
//! for the client come out.
//!
//! ```text
//!  Header ──▶ Handshake ──▶ Open ──▶ Ending ──▶ Parting ──▶ Over
//!    │            │                    ▲           ▲
//!    └────────────┴────────────────────┼───────────┘
//!                     whatever goes wrong leads on, never back
//! ```
//!
//! *Ending*: the virtual host was told that the session ends; what it still says is passed on, so
//! that everything asked before is answered. *Parting*: `connection.close` was written, the
//! client's close-ok is waited for, everything else passed over.

#![deny(clippy::indexing_slicing)]

mod open;

pub(crate) mod handshake;
pub(crate) mod heartbeat;
mod throttle;

use std::sync::Arc;

use broker::operation::Operation;
use broker::{Alarms, Batch, Closing, Event, LoginRefusal};

pub use self::handshake::{Admission, Gate, Told};
use self::handshake::{Handshake, Step};
use self::heartbeat::Beat;
pub use self::heartbeat::SignsOfLife;
use self::open::{Open, Verdict};
use crate::reply_code::{Fault, ReplyCode};
use crate::settings::AmqpSettings;
use crate::translate::garbled;
use crate::wire::frame::{self, Frame, PROTOCOL_HEADER};
use crate::wire::method::{self, connection};

/// The largest frame before limits are agreed on. A client's properties and its response fit.
const HANDSHAKE_FRAME_BYTES_MAX: u32 = 8192;

/// How much room for half a frame a connection keeps while it has none.
const PARTIAL_BYTES_KEPT: usize = 4096;

/// How long the present state of a connection may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it is open: so many milliseconds in all.
    Opening(u64),
    /// So many milliseconds until the next look at its heartbeat.
    Heartbeat(u64),
    /// Until it is over: so many milliseconds.
    Parting(u64),
    /// The refused client waits: so many milliseconds.
    Mute(u64),
    /// For ever.
    Endless,
}

/// A connection as a state machine.
#[derive(Debug)]
pub struct Connection {
    settings: Arc<AmqpSettings>,
    phase: Phase,
    /// The front of a frame whose rest has not come.
    partial: Vec<u8>,
    payload_bytes_max: u32,
    /// The stream can't be cut into frames any more: the rest of it is thrown away.
    deaf: bool,
    /// A new secret of an open connection is being checked.
    secret_pending: bool,
}

#[derive(Debug)]
enum Phase {
    Header,
    Handshake(Box<Handshake>),
    Open(Box<Open>),
    Ending(Box<Open>, Goodbye),
    Parting,
    /// The login failed and the client can't be told: nothing is said.
    Mute,
    Over,
}

/// The last word to the client.
#[derive(Debug)]
enum Goodbye {
    /// It asked for the end: `connection.close-ok`.
    Agreed,
    /// `connection.close`.
    Fault(Fault),
}

impl Connection {
    /// A connection whose client has said nothing.
    pub fn new(settings: Arc<AmqpSettings>) -> Connection {
        Connection {
            settings,
            phase: Phase::Header,
            partial: Vec::new(),
            payload_bytes_max: HANDSHAKE_FRAME_BYTES_MAX - frame::OVERHEAD_BYTES,
            deaf: false,
            secret_pending: false,
        }
    }

    /// Takes bytes of the client, however they are cut. Operations for the virtual host go to
    /// `batch`, answers to `out`.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        gate: &mut dyn Gate,
        batch: &mut Batch,
        out: &mut Vec<u8>,
    ) {
        if self.is_checking() {
            self.partial.extend_from_slice(bytes);
            return;
        }
        let mut turn = Turn { gate, batch, out };
        let mut bytes = bytes;
        if matches!(self.phase, Phase::Header) {
            bytes = self.protocol_header(bytes, &mut turn);
        }
        if !self.partial.is_empty() {
            bytes = self.finish_partial(bytes, &mut turn);
        }
        let rest = self.frames(bytes, &mut turn);
        if !self.is_deaf() {
            self.partial.extend_from_slice(rest);
        }
    }

    /// Whether a password is being checked: until the verdict the client should not be read.
    pub fn is_checking(&self) -> bool {
        self.secret_pending
            || matches!(&self.phase, Phase::Handshake(handshake) if handshake.is_checking())
    }

    /// The password has been checked; what the client said meanwhile is taken now.
    pub fn verdict(
        &mut self,
        verdict: Result<(), LoginRefusal>,
        gate: &mut dyn Gate,
        batch: &mut Batch,
        out: &mut Vec<u8>,
    ) {
        let secret_pending = std::mem::take(&mut self.secret_pending);
        let outcome = match &mut self.phase {
            Phase::Handshake(handshake) => handshake.verdict(verdict, &self.settings, gate, out),
            Phase::Open(open) if secret_pending => {
                open.secret_checked(verdict, out).map(|()| Step::On)
            }
            // It ended meanwhile.
            Phase::Header
            | Phase::Open(_)
            | Phase::Ending(..)
            | Phase::Parting
            | Phase::Mute
            | Phase::Over => Ok(Step::On),
        };
        match outcome {
            Ok(Step::Mute) => self.phase = Phase::Mute,
            Ok(_on) => {}
            Err(fault) => self.fail(fault, batch, out),
        }
        let said = std::mem::take(&mut self.partial);
        self.receive(&said, gate, batch, out);
    }

    /// Takes what the virtual host says; frames go to `out`.
    pub fn event(&mut self, event: &Event, batch: &mut Batch, out: &mut Vec<u8>) {
        let (Phase::Open(open) | Phase::Ending(open, _)) = &mut self.phase else { return };
        match open.event(event, out) {
            Verdict::Fine => {}
            Verdict::Fault(fault) => self.fail(fault, batch, out),
            Verdict::Closing(closing) => self.forced(&closing, batch, out),
            Verdict::Ended => self.part(out),
        }
    }

    /// Takes the broker's alarms as they are now.
    pub fn alarms(&mut self, alarms: Alarms, out: &mut Vec<u8>) {
        if let Phase::Open(open) = &mut self.phase {
            open.throttle.alarms(alarms, out);
        }
    }

    /// What the client publishes is not read for want of room.
    pub fn waits_for_room(&mut self, out: &mut Vec<u8>) {
        if let Phase::Open(open) = &mut self.phase {
            open.throttle.published(out);
        }
    }

    /// Whether the client is not to be read until alarms are cleared.
    pub fn is_blocked(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.throttle.is_blocked())
    }

    /// How long the present state may last; [`Connection::expire`] is called when it has.
    pub fn patience(&self) -> Patience {
        match &self.phase {
            Phase::Header | Phase::Handshake(_) => {
                Patience::Opening(self.settings.handshake_ms_max)
            }
            Phase::Open(open) => match open.heartbeat.look_ms() {
                Some(ms) => Patience::Heartbeat(ms),
                None => Patience::Endless,
            },
            // Over: what is written must still get out.
            Phase::Ending(..) | Phase::Parting | Phase::Over => {
                Patience::Parting(self.settings.close_ms_max)
            }
            Phase::Mute => Patience::Mute(self.settings.refused_login_ms),
        }
    }

    /// The time of [`Connection::patience`] is over.
    pub fn expire(&mut self, signs: SignsOfLife, out: &mut Vec<u8>) {
        match &mut self.phase {
            Phase::Open(open) => match open.heartbeat.look(signs) {
                Beat::Nothing => {}
                Beat::Send => out.extend_from_slice(&frame::HEARTBEAT_FRAME),
                Beat::Dead => {
                    tracing::warn!(connection = %open, "missed heartbeats from the client");
                    self.phase = Phase::Over;
                }
            },
            Phase::Ending(..) => {
                self.part(out);
                self.phase = Phase::Over;
            }
            Phase::Header | Phase::Handshake(_) | Phase::Parting | Phase::Mute | Phase::Over => {
                self.phase = Phase::Over;
            }
        }
    }

    /// Whether the client was in and is on its way out.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(..) | Phase::Parting | Phase::Over)
    }

    /// Whether nothing more will be said, to either side.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    fn is_deaf(&self) -> bool {
        self.deaf || matches!(self.phase, Phase::Over | Phase::Mute)
    }

    /// Takes the eight bytes that every client begins with.
    fn protocol_header<'a>(&mut self, bytes: &'a [u8], turn: &mut Turn<'_>) -> &'a [u8] {
        let missing = PROTOCOL_HEADER.len() - self.partial.len();
        let (front, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.partial.extend_from_slice(front);
        if !PROTOCOL_HEADER.starts_with(&self.partial) {
            turn.out.extend_from_slice(&PROTOCOL_HEADER);
            self.phase = Phase::Over;
            self.partial = Vec::new();
            return &[];
        }
        if self.partial.len() == PROTOCOL_HEADER.len() {
            self.partial.clear();
            self.phase =
                Phase::Handshake(Box::new(Handshake::start(&self.settings, turn.gate, turn.out)));
        }
        rest
    }

    /// Completes the frame whose front was kept, with no more bytes than it needs.
    fn finish_partial<'a>(&mut self, bytes: &'a [u8], turn: &mut Turn<'_>) -> &'a [u8] {
        let mut bytes = bytes;
        if matches!(self.phase, Phase::Header) {
            return bytes;
        }
        // Twice at most: its length first, then the rest of it.
        loop {
            let missing = frame::missing_bytes(&self.partial, self.payload_bytes_max);
            if missing == 0 {
                break;
            }
            let (front, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.partial.extend_from_slice(front);
            bytes = rest;
            if front.len() < missing {
                return bytes;
            }
        }
        let mut whole = std::mem::take(&mut self.partial);
        // A limit that was just agreed on may leave the frame's end behind; it can't here, since
        // nothing but one whole frame was kept.
        let rest = self.frames(&whole, turn);
        if self.is_checking() {
            // The frame that was just completed asked for it; what is behind waits.
            self.partial = bytes.to_vec();
            return &[];
        }
        debug_assert!(rest.is_empty() || self.is_deaf());
        if whole.capacity() <= PARTIAL_BYTES_KEPT {
            whole.clear();
            self.partial = whole;
        }
        bytes
    }

    /// Takes all whole frames off the front.
    ///
    /// Returns the front of the next.
    fn frames<'a>(&mut self, bytes: &'a [u8], turn: &mut Turn<'_>) -> &'a [u8] {
        let mut bytes = bytes;
        while !self.is_deaf() && !matches!(self.phase, Phase::Header) && !self.is_checking() {
            match frame::take(bytes, self.payload_bytes_max) {
                Ok(Some((frame, rest))) => bytes = self.frame(&frame, rest, turn),
                Ok(None) => return bytes,
                Err(too_large) => {
                    self.deaf = true;
                    self.fail(garbled::too_large(too_large), turn.batch, turn.out);
                }
            }
        }
        bytes
    }

    /// Takes a frame, and of what follows as much as belongs to it.
    #[inline]
    fn frame<'a>(&mut self, frame: &Frame<'a>, rest: &'a [u8], turn: &mut Turn<'_>) -> &'a [u8] {
        let outcome = match &mut self.phase {
            Phase::Open(open) => match open.frame(frame, rest, turn.gate, turn.batch, turn.out) {
                Ok(open::Next::Frame(rest)) => return rest,
                Ok(open::Next::Secret(secret)) => match turn.gate.login(open.user(), secret) {
                    Ok(Admission::Pending) => {
                        self.secret_pending = true;
                        Ok(())
                    }
                    Ok(Admission::In) => open.secret_checked(Ok(()), turn.out),
                    Err(refusal) => open.secret_checked(Err(refusal), turn.out),
                },
                Ok(open::Next::Close) => {
                    self.end(Goodbye::Agreed, turn.batch);
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
            Phase::Handshake(_) => self.handshake(frame, turn),
            Phase::Ending(..) | Phase::Parting => {
                self.passed_over(frame, turn.out);
                Ok(())
            }
            Phase::Header | Phase::Mute | Phase::Over => Ok(()),
        };
        if let Err(fault) = outcome {
            self.fail(fault, turn.batch, turn.out);
        }
        rest
    }

    fn handshake(&mut self, frame: &Frame<'_>, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Phase::Handshake(handshake) = &mut self.phase else { return Ok(()) };
        garbled::check_end(frame)?;
        if frame.channel == 0 && frame.kind == frame::HEARTBEAT {
            return Ok(());
        }
        if frame.channel != 0 || frame.kind != frame::METHOD {
            return Err(garbled::misplaced_frame(frame));
        }
        let (id, fields) =
            method::split(frame.payload).ok_or_else(|| garbled::unknown_frame(frame))?;
        match handshake.method(id, fields, &self.settings, turn.gate, turn.out)? {
            Step::On => {}
            Step::Tuned(limits) => {
                self.payload_bytes_max = limits.frame_bytes_max - frame::OVERHEAD_BYTES;
            }
            Step::Opened { client, limits, vhost } => {
                let open = Open::new(client, limits, vhost, self.settings.message_bytes_max);
                tracing::info!(connection = %open, "AMQP connection opened");
                turn.batch.push(Operation::Introduce(open.traits()));
                self.phase = Phase::Open(Box::new(open));
            }
            Step::GivenUp => {
                method::write(turn.out, 0, &connection::CloseOk {});
                self.phase = Phase::Over;
            }
            Step::Mute => self.phase = Phase::Mute,
        }
        Ok(())
    }

    /// While the connection ends, only the client's word on the end itself counts.
    fn passed_over(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        if frame.kind != frame::METHOD || frame.channel != 0 {
            return;
        }
        match method::split(frame.payload) {
            Some(((connection::CLASS, connection::Close::ID), _)) => {
                method::write(out, 0, &connection::CloseOk {});
                self.phase = Phase::Over;
            }
            Some(((connection::CLASS, connection::CloseOk::ID), _)) => {
                if matches!(self.phase, Phase::Parting) {
                    self.phase = Phase::Over;
                }
            }
            _passed_over => {}
        }
    }

    /// Something is wrong with the whole connection.
    fn fail(&mut self, fault: Fault, batch: &mut Batch, out: &mut Vec<u8>) {
        match &self.phase {
            Phase::Open(open) => {
                tracing::warn!(connection = %open, error = fault.text, "AMQP connection fails");
                self.end(Goodbye::Fault(fault), batch);
            }
            Phase::Handshake(_) => {
                tracing::warn!(error = fault.text, "AMQP connection fails while it opens");
                write_close(&fault, out);
                self.phase = Phase::Parting;
            }
            Phase::Header | Phase::Ending(..) | Phase::Parting | Phase::Mute | Phase::Over => {}
        }
    }

    /// Asks the virtual host to end the session; the goodbye is said when it has.
    fn end(&mut self, goodbye: Goodbye, batch: &mut Batch) {
        if let Phase::Open(open) = std::mem::replace(&mut self.phase, Phase::Over) {
            batch.push(Operation::End);
            self.phase = Phase::Ending(open, goodbye);
        }
    }

    /// The broker wants the client gone: it is told at once.
    fn forced(&mut self, closing: &Closing, batch: &mut Batch, out: &mut Vec<u8>) {
        if matches!(self.phase, Phase::Open(_)) {
            batch.push(Operation::End);
        }
        let fault = match closing {
            Closing::Shutdown => handshake::shutdown(),
            Closing::Forced(why) => Fault::new(ReplyCode::ConnectionForced, (0, 0), why),
            Closing::Poisoned(poison) => Fault::new(ReplyCode::InternalError, (0, 0), poison),
            Closing::Deleted => {
                Fault::new(ReplyCode::ConnectionForced, (0, 0), "the vhost was deleted")
            }
        };
        write_close(&fault, out);
        self.phase = Phase::Parting;
    }

    /// The session has ended: the goodbye is said.
    fn part(&mut self, out: &mut Vec<u8>) {
        // The virtual host ends a session only if it was told to.
        if let Phase::Ending(open, goodbye) = std::mem::replace(&mut self.phase, Phase::Over) {
            tracing::info!(connection = %open, "AMQP connection closed");
            match goodbye {
                Goodbye::Agreed => method::write(out, 0, &connection::CloseOk {}),
                Goodbye::Fault(fault) => {
                    write_close(&fault, out);
                    self.phase = Phase::Parting;
                }
            }
        }
    }
}

/// What a call of [`Connection::receive`] works with.
struct Turn<'t> {
    gate: &'t mut dyn Gate,
    batch: &'t mut Batch,
    out: &'t mut Vec<u8>,
}

fn write_close(fault: &Fault, out: &mut Vec<u8>) {
    let close = connection::Close {
        reply_code: fault.code.number(),
        reply_text: fault.text.as_str().into(),
        class_id: fault.method.0,
        method_id: fault.method.1,
    };
    method::write(out, 0, &close);
}

#[cfg(test)]
mod tests;
