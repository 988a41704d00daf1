//! The ledger: every message, who held it from when to when, and what each question about leases
//! must be answered. A time is what the wall shows, in milliseconds.

use std::collections::BTreeMap;

use broker::lease::{LeaseEnd, LeaseRequest, LeaseSettlements, LeaseStatus, LeaseToken, LeasedRun};

use crate::random::Random;
use crate::violation::{Violation, broken, demand};

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: BTreeMap<u64, Message>,
    next_id: u64,
    /// In the order in which they were told.
    holdings: Vec<Holding>,
    asked: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Message {
    queue: &'static str,
    bytes: usize,
    confirmed: bool,
    /// It was leased, as was told: so it is on disk.
    seen: bool,
    gone: Gone,
    /// Since when, if it is.
    gone_at: u64,
    /// When somebody had it, as AMQP has it.
    amqp: Vec<(u64, u64)>,
    /// Its holdings, by their place in the ledger.
    held: Vec<usize>,
}

/// Whether a message has left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    /// It may have.
    Perhaps,
    /// As far as this life goes.
    Yes,
    /// And whoever asked has been told.
    ForGood,
}

/// One lease of one message.
#[derive(Debug)]
struct Holding {
    id: u64,
    ticket: u64,
    token: LeaseToken,
    from: u64,
    /// It lasts at least until then, if it is not over.
    to: u64,
    /// And at most until then.
    to_max: u64,
    state: State,
    attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has ended it.
    Live,
    /// It may have been ended.
    Perhaps,
    Over,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Asked {
    client: u64,
    /// For a lease.
    queue: Option<String>,
    lease_ms: u64,
    messages_max: u32,
    /// Nobody may wait for longer.
    until: u64,
    /// For settlements.
    expected: Vec<Expected>,
}

/// What is to be heard of one settlement.
#[derive(Clone, Debug)]
struct Expected {
    holding: usize,
    end: LeaseEnd,
    what: What,
    /// What was known of the message before.
    gone: Gone,
    /// How long the lease was to last before.
    before: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Done,
    NotDone,
    Either,
}

impl Ledger {
    pub(super) fn publish(&mut self, queue: &'static str, bytes: usize) -> u64 {
        self.next_id += 1;
        let (confirmed, seen, gone) = (false, false, Gone::No);
        let (amqp, held) = (Vec::new(), Vec::new());
        let gone_at = u64::MAX;
        let message = Message { queue, bytes, confirmed, seen, gone, gone_at, amqp, held };
        self.messages.insert(self.next_id, message);
        self.next_id
    }

    /// A message's body: its number, and bytes that follow from it.
    pub(super) fn body(&self, id: u64) -> Vec<u8> {
        let bytes = self.messages.get(&id).map_or(0, |message| message.bytes);
        let mut body = id.to_le_bytes().to_vec();
        let mut random = Random::new(id);
        body.resize_with(8 + bytes, || random.next().to_le_bytes()[0]);
        body
    }

    fn recognise(&self, body: &[u8]) -> Result<u64, Violation> {
        let id = body.first_chunk().map(|number| u64::from_le_bytes(*number)).unwrap_or_default();
        demand!(self.messages.contains_key(&id), Intact, "message {id} was never published");
        demand!(self.body(id) == body, Intact, "the body of {id}");
        Ok(id)
    }

    pub(super) fn confirmed(&mut self, id: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.confirmed = true;
        }
    }

    /// Somebody got a message, as AMQP has it.
    pub(super) fn got(&mut self, body: &[u8], again: bool, now: u64) -> Result<u64, Violation> {
        let id = self.recognise(body)?;
        self.comes(id, now, u64::MAX, again)?;
        if let Some(message) = self.messages.get_mut(&id) {
            message.amqp.push((now, u64::MAX));
        }
        Ok(id)
    }

    pub(super) fn amqp_ends(&mut self, id: u64, now: u64) {
        let message = self.messages.get_mut(&id);
        if let Some((_, to)) = message.and_then(|message| message.amqp.last_mut()) {
            *to = (*to).min(now);
        }
    }

    pub(super) fn amqp_acknowledged(&mut self, id: u64, now: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            (message.gone, message.gone_at) = (Gone::Yes, now);
        }
    }

    /// A message is with somebody from one time to another: with nobody else, and not after its end.
    fn comes(&mut self, id: u64, from: u64, to: u64, again: bool) -> Result<(), Violation> {
        let Some(message) = self.messages.get_mut(&id) else { return Ok(()) };
        // News come in the order of the clients, not of what they are about.
        let is_done = matches!(message.gone, Gone::Yes | Gone::ForGood);
        demand!(
            !is_done || from < message.gone_at,
            DeliveredOnce,
            "message {id} comes again, and was done with at {}",
            message.gone_at
        );
        if !is_done {
            message.gone = Gone::No;
        }
        let before = message.held.iter().any(|at| self.holdings[*at].from < from)
            || message.amqp.iter().any(|(other, _)| *other < from);
        demand!(again || !before, RedeliveredMark, "message {id} comes again, unmarked");
        let overlaps = |(one, end): (u64, u64)| one < to && from < end;
        let amqp = message.amqp.iter().copied().find(|it| overlaps(*it));
        demand!(
            amqp.is_none(),
            DeliveredOnce,
            "message {id} is held from {from} to {to}, and by AMQP's way in {amqp:?}"
        );
        for at in &message.held {
            let held = &self.holdings[*at];
            demand!(
                !overlaps((held.from, held.to)),
                DeliveredOnce,
                "message {id} is held from {from} to {to}, and {held:?}"
            );
        }
        Ok(())
    }

    pub(super) fn ask_lease(&mut self, client: u64, request: &LeaseRequest, now: u64) {
        let asked = Asked {
            client,
            queue: Some(request.queue.as_str().to_owned()),
            lease_ms: request.lease_ms,
            messages_max: request.messages_max,
            until: now + request.wait_ms,
            expected: Vec::new(),
        };
        self.asked.insert(request.ticket, asked);
    }

    fn take_asked(&mut self, client: u64, ticket: u64) -> Result<Asked, Violation> {
        match self.asked.remove(&ticket) {
            Some(asked) if asked.client == client => Ok(asked),
            asked => broken!(Answered, "client {client} hears of {ticket}, asked: {asked:?}"),
        }
    }

    /// Messages were leased; says which.
    pub(super) fn leased(
        &mut self,
        client: u64,
        ticket: u64,
        runs: &[LeasedRun],
    ) -> Result<String, Violation> {
        let asked = self.take_asked(client, ticket)?;
        let mut ids = Vec::new();
        for (run, offset) in runs.iter().flat_map(|run| (0..run.count).map(move |at| (run, at))) {
            let Some(message) = run.chunk.message(run.first + offset) else {
                return broken!(Intact, "a message past the end of its chunk");
            };
            let id = self.recognise(message.body)?;
            let (from, to) = (run.until_wall_ms - asked.lease_ms, run.until_wall_ms);
            self.comes(id, from, to, run.redelivered)?;
            let at = self.holdings.len();
            let Some(message) = self.messages.get_mut(&id) else { continue };
            let right = asked.queue.as_deref() == Some(message.queue);
            demand!(right, Answered, "message {id} of {}", message.queue);
            let attempt = run.attempt();
            for before in &message.held {
                let before = &self.holdings[*before];
                let in_order = (before.from <= from && before.attempt < attempt)
                    || (before.from >= from && before.attempt > attempt);
                demand!(in_order, Answered, "message {id}: attempt {attempt} after {before:?}");
            }
            message.held.push(at);
            message.seen = true;
            self.holdings.push(Holding {
                id,
                ticket,
                token: run.token(offset),
                from,
                to,
                to_max: to,
                state: State::Live,
                attempt,
            });
            ids.push(id);
        }
        demand!(
            ids.len() <= asked.messages_max as usize,
            Answered,
            "{} messages, and {} were asked for",
            ids.len(),
            asked.messages_max
        );
        Ok(format!("{ids:?}"))
    }

    /// One of the leases there ever were; mostly one of the latest.
    pub(super) fn pick_token(&self, random: &mut Random) -> Option<usize> {
        let all = self.holdings.len() as u64;
        let back = if random.chance(75) { random.below(all.min(40)) } else { random.below(all) };
        usize::try_from(all.checked_sub(back + 1)?).ok()
    }

    pub(super) fn token(&self, at: usize) -> Option<LeaseToken> {
        self.holdings.get(at).map(|holding| holding.token)
    }

    /// The tokens that this ticket brought.
    pub(super) fn held_by(&self, ticket: u64) -> Vec<LeaseToken> {
        let held = self.holdings.iter().filter(|holding| holding.ticket == ticket);
        held.map(|holding| holding.token).collect()
    }

    pub(super) fn ask_settle(&mut self, client: u64, settlements: &LeaseSettlements, now: u64) {
        let mut expected = Vec::new();
        for item in &settlements.items {
            let known = self.holdings.iter().position(|holding| holding.token == item.token);
            if let Some(holding) = known {
                expected.push(self.expect(holding, &item.end, now));
            }
        }
        let (queue, lease_ms, messages_max, until) = (None, 0, 0, now);
        let asked = Asked { client, queue, lease_ms, messages_max, until, expected };
        self.asked.insert(settlements.ticket, asked);
    }

    /// What must become of a settlement, and what that makes of the lease and its message.
    fn expect(&mut self, at: usize, end: &LeaseEnd, now: u64) -> Expected {
        let holding = &mut self.holdings[at];
        let what = match holding.state {
            State::Over => What::NotDone,
            State::Live if now < holding.to => What::Done,
            State::Live if now >= holding.to_max => What::NotDone,
            State::Live | State::Perhaps => What::Either,
        };
        let before = (holding.to, holding.to_max);
        let message = self.messages.get_mut(&holding.id);
        let gone = message.as_ref().map_or(Gone::No, |message| message.gone);
        let expected = Expected { holding: at, end: end.clone(), what, gone, before };
        let Some(message) = message else { return expected };
        match (what, end) {
            (What::NotDone, _) => holding.state = State::Over,
            (What::Done, LeaseEnd::Extended { lease_ms, .. }) => {
                (holding.to, holding.to_max) = (now + lease_ms, now + lease_ms);
            }
            (What::Either, LeaseEnd::Extended { lease_ms, .. }) => {
                holding.to = holding.to.min(now);
                holding.to_max = holding.to_max.max(now + lease_ms);
                holding.state = State::Perhaps;
            }
            (What::Done | What::Either, end) => {
                holding.to = holding.to.min(now);
                let leaves = matches!(end, LeaseEnd::Acknowledged { .. } | LeaseEnd::Rejected(_));
                let surely = what == What::Done;
                holding.state = if surely { State::Over } else { State::Perhaps };
                if leaves && message.gone == Gone::No {
                    message.gone = if surely { Gone::Yes } else { Gone::Perhaps };
                    message.gone_at = now;
                }
            }
        }
        expected
    }

    /// What became of settlements was told.
    pub(super) fn settled(
        &mut self,
        client: u64,
        ticket: u64,
        statuses: &[LeaseStatus],
    ) -> Result<(), Violation> {
        let asked = self.take_asked(client, ticket)?;
        demand!(
            asked.expected.len() == statuses.len(),
            Answered,
            "{ticket}: {} were settled, {} answered",
            asked.expected.len(),
            statuses.len()
        );
        for (expected, status) in asked.expected.into_iter().zip(statuses) {
            self.check(&expected, *status)?;
        }
        Ok(())
    }

    fn check(&mut self, expected: &Expected, status: LeaseStatus) -> Result<(), Violation> {
        let holding = &mut self.holdings[expected.holding];
        let id = holding.id;
        let Some(message) = self.messages.get_mut(&id) else { return Ok(()) };
        let done = matches!(status, LeaseStatus::Done { .. });
        let right = match expected.what {
            What::Done => done,
            What::NotDone => !done,
            What::Either => true,
        };
        demand!(right, Answered, "message {id}: {status:?}, expected {expected:?}, {holding:?}");
        let leaves = matches!(expected.end, LeaseEnd::Acknowledged { .. } | LeaseEnd::Rejected(_));
        match status {
            LeaseStatus::Done { until_wall_ms, .. } => {
                let extended = matches!(expected.end, LeaseEnd::Extended { .. });
                demand!(
                    until_wall_ms.is_some() == extended,
                    Answered,
                    "{status:?} of {expected:?}"
                );
                if leaves {
                    message.gone = Gone::ForGood;
                }
            }
            LeaseStatus::Lost => {
                holding.state = State::Over;
                demand!(
                    matches!(expected.gone, Gone::No | Gone::Perhaps),
                    Answered,
                    "message {id} is said to be somebody else's, and is done with"
                );
                if expected.what == What::Either && message.gone == Gone::Perhaps {
                    message.gone = Gone::No;
                }
            }
            LeaseStatus::Gone => {
                holding.state = State::Over;
                demand!(
                    expected.gone != Gone::No || super::may_vanish(message.queue),
                    Recovers,
                    "message {id} is said to be gone, and nobody has ended it"
                );
                message.gone = Gone::ForGood;
            }
        }
        Ok(())
    }

    /// The life is over: what was not told may have happened or not.
    pub(super) fn crash(&mut self) {
        for asked in std::mem::take(&mut self.asked).into_values() {
            for Expected { holding, what, gone, before, .. } in asked.expected.into_iter().rev() {
                if what == What::NotDone {
                    continue;
                }
                let holding = &mut self.holdings[holding];
                holding.state = State::Perhaps;
                holding.to = holding.to.min(before.0);
                holding.to_max = holding.to_max.max(before.1);
                if let Some(message) = self.messages.get_mut(&holding.id)
                    && message.gone != gone
                    && message.gone != Gone::ForGood
                {
                    message.gone = Gone::Perhaps;
                }
            }
        }
        for message in self.messages.values_mut() {
            if message.gone == Gone::Yes {
                message.gone = Gone::Perhaps;
            }
            if !message.confirmed && message.gone == Gone::No && !message.seen {
                message.gone = Gone::Perhaps;
            }
            // What was got is marked when it comes again only if the journal had time to hear of it.
            message.amqp.clear();
        }
    }

    /// A client is gone: it hears no more.
    pub(super) fn leaves(&mut self, client: u64) {
        for asked in self.asked.values_mut().filter(|asked| asked.client == client) {
            asked.until = u64::MAX;
        }
    }

    /// Nobody waits whose time is over.
    pub(super) fn nobody_waits(&self, now: u64) -> Result<(), Violation> {
        for (ticket, asked) in &self.asked {
            demand!(
                asked.until > now,
                NothingHangs,
                "{ticket} is not answered at {now}: {asked:?}"
            );
        }
        Ok(())
    }

    /// At the end: everything that was safe and not done with has come.
    pub(super) fn all_came(&self) -> Result<(), Violation> {
        for (id, message) in &self.messages {
            let must_have_come =
                message.confirmed && message.gone == Gone::No && !super::may_vanish(message.queue);
            demand!(!must_have_come, Recovers, "message {id} is lost: {message:?}");
        }
        Ok(())
    }
}
