//! A small language for scripted lives: who asks for what, and when the writer steps.
//!
//! A line is `NAME: REQUEST; REQUEST …`, one batch of a session that comes when first named, or
//! `step`, `settle`, `wait MS`, `lose NAME`. Requests are about channel 1, which is opened by
//! itself, with confirms; with transactions if the name begins with `T`.

use std::collections::BTreeMap;

use broker::Persistence;
use broker::operation::{
    Acknowledgement, Answer, BindingChange, Consume, Declare, Destination, Operation, Outcome,
    Sharing, Tags, Unroutable, Verb,
};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::queue::QueueDeclaration;
use domain::table::Table;

use crate::checker::{SessionKey, named};
use crate::life::{Life, Pace, Request, Size};
use crate::message::Content;
use crate::violation::Violation;

const CHANNEL: u16 = 1;

/// Plays lines in one life.
#[derive(Debug, Default)]
pub(crate) struct Player {
    sessions: BTreeMap<String, SessionKey>,
}

impl Player {
    /// Plays a script; stops early where the journal can't be written any more.
    pub(crate) fn play(&mut self, life: &mut Life, script: &str) -> Result<(), Violation> {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.act(life, line)?;
            if life.is_poisoned() {
                break;
            }
        }
        Ok(())
    }

    fn act(&mut self, life: &mut Life, action: &str) -> Result<(), Violation> {
        let words: Vec<&str> = action.split_whitespace().collect();
        match words[..] {
            ["step"] => life.step().map(drop),
            ["settle"] => life.settle(),
            ["wait", ms] => {
                life.advance(number(ms));
                Ok(())
            }
            ["lose", name] => match self.sessions.remove(name) {
                Some(session) => life.drop_session(session),
                None => Ok(()),
            },
            _ => self.batch(life, action),
        }
    }

    fn batch(&mut self, life: &mut Life, action: &str) -> Result<(), Violation> {
        let Some((name, requests)) = action.split_once(':') else {
            unreachable!("{action:?} names a session")
        };
        let mut batch = Vec::new();
        let session = if let Some(session) = self.sessions.get(name) {
            *session
        } else {
            let Some(session) = life.connect(Pace::Fast)? else { return Ok(()) };
            self.sessions.insert(name.to_owned(), session);
            let answer = Answer::Wanted;
            batch.push(ask(Operation::OpenChannel { channel: CHANNEL }));
            batch.push(ask(if name.starts_with('T') {
                Operation::SelectTransactions { channel: CHANNEL }
            } else {
                Operation::SelectConfirms { channel: CHANNEL, answer }
            }));
            session
        };
        for request in requests.split(';') {
            let words: Vec<&str> = request.split_whitespace().collect();
            batch.extend(requested(life, &words));
        }
        life.request(session, &batch)
    }
}

fn requested(life: &mut Life, words: &[&str]) -> Vec<Request> {
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    let operation = match *words {
        ["publish", exchange, key, count] => {
            return publishes(life, exchange, key, number(count), Persistence::Persistent);
        }
        ["publish", exchange, key, count, "transient"] => {
            return publishes(life, exchange, key, number(count), Persistence::Transient);
        }
        ["queue", name] => declare_queue(name, "durable"),
        ["queue", name, "transient"] => declare_queue(name, "transient"),
        ["exchange", name, kind] => declare_exchange(name, exchange_of(kind)),
        ["exchange", name, kind, "auto-delete"] => {
            let settings = ExchangeSettings { auto_delete: true, ..exchange_of(kind) };
            declare_exchange(name, settings)
        }
        ["bind", source, goal, key] => binding(BindingChange::Add, source, goal, key),
        ["unbind", source, goal, key] => binding(BindingChange::Remove, source, goal, key),
        ["consume", queue, tag] => {
            let consume = Consume {
                queue: named(queue),
                consumer_tag: named(tag),
                acknowledgement: Acknowledgement::Manual,
                sharing: Sharing::Shared,
                arguments: Table::default(),
            };
            Operation::Consume { channel, consume: consume.into(), answer }
        }
        ["cancel", tag] => Operation::Cancel { channel, consumer_tag: named(tag), answer },
        ["get", queue] => {
            let (queue, acknowledgement) = (named(queue), Acknowledgement::Manual);
            Operation::Get { channel, queue, acknowledgement }
        }
        ["ack", tag] => settle(Tags::One(number(tag)), Outcome::Acknowledged),
        ["ack-up-to", tag] => settle(Tags::UpTo(number(tag)), Outcome::Acknowledged),
        ["requeue-up-to", tag] => settle(Tags::UpTo(number(tag)), Outcome::Requeued),
        ["reject", tag] => settle(Tags::One(number(tag)), Outcome::Rejected),
        ["commit"] => Operation::Commit { channel },
        ["rollback"] => Operation::Rollback { channel },
        ["purge", queue] => Operation::PurgeQueue { channel, queue: named(queue), answer },
        ["delete-queue", queue] => {
            let (queue, only_if_unused, only_if_empty) = (named(queue), false, false);
            Operation::DeleteQueue { channel, queue, only_if_unused, only_if_empty, answer }
        }
        ["delete-exchange", exchange] => {
            let (exchange, only_if_unused) = (named(exchange), false);
            Operation::DeleteExchange { channel, exchange, only_if_unused, answer }
        }
        ref unknown => unreachable!("{unknown:?} is no request"),
    };
    vec![ask(operation)]
}

fn ask(operation: Operation) -> Request {
    Request::Operation(operation)
}

fn number<T: std::str::FromStr + Default>(word: &str) -> T {
    word.parse().unwrap_or_default()
}

/// `-` stands for the default exchange.
fn publishes(
    life: &mut Life,
    exchange: &str,
    key: &str,
    count: u32,
    persistence: Persistence,
) -> Vec<Request> {
    let content = Content {
        exchange: named(if exchange == "-" { "" } else { exchange }),
        routing_key: key.as_bytes().into(),
        also: Box::default(),
        persistence,
        priority: None,
        headers: Table::default(),
        body_bytes: 40,
        expiration_ms: None,
    };
    let publish = |_nth| Request::Publish {
        channel: CHANNEL,
        unroutable: Unroutable::Returned,
        message: life.checker.messages.add(content.clone()),
        size: Size::Small,
    };
    (0..count).map(publish).collect()
}

fn declare_queue(name: &str, lifetime: &str) -> Operation {
    let durable = lifetime == "durable";
    let declaration = QueueDeclaration { durable, ..QueueDeclaration::default() };
    let (channel, queue, declare) = (CHANNEL, named(name), Declare::Active);
    let answer = Answer::Wanted;
    Operation::DeclareQueue { channel, queue, declare, declaration: declaration.into(), answer }
}

fn exchange_of(kind: &str) -> ExchangeSettings {
    ExchangeSettings {
        exchange_type: ExchangeType::parse(kind).unwrap_or(ExchangeType::Direct),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
    }
}

fn declare_exchange(name: &str, settings: ExchangeSettings) -> Operation {
    let (channel, exchange, declare) = (CHANNEL, named(name), Declare::Active);
    let (settings, answer) = (settings.into(), Answer::Wanted);
    Operation::DeclareExchange { channel, exchange, declare, settings, answer }
}

/// A goal that begins with `x.` is an exchange.
fn binding(change: BindingChange, source: &str, goal: &str, key: &str) -> Operation {
    Operation::Bind {
        channel: CHANNEL,
        change,
        source: named(source),
        destination: if goal.starts_with("x.") {
            Destination::Exchange(named(goal))
        } else {
            Destination::Queue(named(goal))
        },
        routing_key: key.as_bytes().into(),
        arguments: BindingArguments::default(),
        answer: Answer::Wanted,
    }
}

fn settle(tags: Tags, outcome: Outcome) -> Operation {
    let verb = match outcome {
        Outcome::Acknowledged => Verb::Ack,
        Outcome::Requeued => Verb::Nack,
        Outcome::Failed | Outcome::Rejected => Verb::Reject,
    };
    Operation::Settle { channel: CHANNEL, tags, outcome, verb }
}
