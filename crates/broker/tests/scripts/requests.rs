//! What sessions ask for: the words of a script as operations.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::lease::{
    LeaseEnd, LeaseError, LeaseRequest, LeaseSettlement, LeaseSettlements, LeaseToken,
};
use broker::operation::*;
use broker::{Batch, LargeMessage, MessageHead, Persistence};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::table::{Table, Value};

pub(crate) fn name(text: &str) -> Name {
    Name::new(if text == "-" { "" } else { text }).unwrap()
}

const CHANNEL: ChannelId = 1;
/// From here on a body is published as a large one.
const LARGE_BYTES_MIN: usize = 10;

fn settle(verb: &str, tag: u64) -> Operation {
    let (tags, outcome) = match verb {
        "ack" => (Tags::One(tag), Outcome::Acknowledged),
        "ack-up-to" => (Tags::UpTo(tag), Outcome::Acknowledged),
        "requeue" => (Tags::One(tag), Outcome::Requeued),
        "reject" => (Tags::One(tag), Outcome::Rejected),
        "fail" => (Tags::One(tag), Outcome::Failed),
        _ => panic!("{verb}"),
    };
    Operation::Settle { channel: CHANNEL, tags, outcome, verb: Verb::Ack }
}

/// QUEUE MAX LEASE_MS [wait=MS]
fn lease(arguments: &[&str]) -> Operation {
    let number = |at: usize| arguments[at].parse().unwrap();
    let wait_ms = table(arguments).get("wait").and_then(Value::as_integer).unwrap_or(0);
    Operation::Lease(Box::new(LeaseRequest {
        ticket: 0,
        queue: name(arguments[0]),
        messages_max: number(1),
        lease_ms: number(2).into(),
        wait_ms: wait_ms.try_into().unwrap(),
    }))
}

/// BODY[@N]… [for=MS] [delay=MS] [result=JSON] [progress=JSON] [error=CLASS]: the last token handed out for the message, or the Nth.
pub(crate) fn settle_leases(
    tokens: &BTreeMap<String, Vec<LeaseToken>>,
    end: &str,
    arguments: &[&str],
) -> Operation {
    let options = table(arguments);
    let delay_ms = options.get("delay").and_then(Value::as_integer).unwrap_or(0);
    let delay_ms = delay_ms.try_into().unwrap();
    let told = |what: &str| {
        let text = options.get(what).map(|value| match value.as_text() {
            Some(text) => text.into(),
            None => value.as_integer().unwrap().to_string().into(),
        });
        text.map(|text: Box<str>| Arc::<str>::from(text))
    };
    let error = told("error").map(|kind: Arc<str>| {
        Arc::new(LeaseError { kind: (&*kind).into(), message: "it broke".into() })
    });
    let end = match end {
        "ack" => LeaseEnd::Acknowledged { result: told("result") },
        "fail" => LeaseEnd::Failed { error, delay_ms },
        "reject" => LeaseEnd::Rejected(error),
        "release" => LeaseEnd::Released { delay_ms },
        "extend" => LeaseEnd::Extended {
            lease_ms: options.get("for").and_then(Value::as_integer).unwrap().try_into().unwrap(),
            progress: told("progress").map(|text| (&*text).into()),
        },
        _ => panic!("{end}"),
    };
    let items = arguments.iter().filter(|word| !word.contains('=')).map(|word| {
        let (body, at) = word.split_once('@').unwrap_or((word, ""));
        let handed_out = &tokens[body];
        let at = at.parse().unwrap_or(handed_out.len());
        LeaseSettlement { token: handed_out[at - 1], end: end.clone() }
    });
    Operation::SettleLeases(Box::new(LeaseSettlements { ticket: 0, items: items.collect() }))
}

pub(crate) fn request(batch: &mut Batch, verb: &str, arguments: &[&str]) {
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let has = |flag: &str| arguments.contains(&flag);
    let operation = match verb {
        "publish" => return publish(batch, arguments),
        "flood" => {
            let (body, count) = ("x".repeat(64 << 10), number(1));
            let mut words = vec!["-", arguments[0]];
            words.extend((0..count).map(|_| body.as_str()));
            return publish(batch, &words);
        }
        "tx" => Operation::SelectTransactions { channel },
        "commit" => Operation::Commit { channel },
        "rollback" => Operation::Rollback { channel },
        "confirms" => Operation::SelectConfirms { channel, answer },
        "queue" => declare_queue(arguments),
        "exchange" => {
            let settings = ExchangeSettings {
                exchange_type: ExchangeType::parse(arguments[1]).unwrap(),
                durable: has("durable"),
                auto_delete: has("auto"),
                internal: false,
                arguments: Table::default(),
            };
            Operation::DeclareExchange {
                channel,
                exchange: name(arguments[0]),
                declare: Declare::Active,
                settings: Box::new(settings),
                answer,
            }
        }
        "bind" | "unbind" => Operation::Bind {
            channel,
            change: if verb == "bind" { BindingChange::Add } else { BindingChange::Remove },
            source: name(arguments[0]),
            destination: Destination::Queue(name(arguments[1])),
            routing_key: arguments[2].as_bytes().into(),
            arguments: BindingArguments::default(),
            answer,
        },
        "delete" => Operation::DeleteQueue {
            channel,
            queue: name(arguments[0]),
            only_if_unused: has("if-unused"),
            only_if_empty: has("if-empty"),
            answer,
        },
        "purge" => Operation::PurgeQueue { channel, queue: name(arguments[0]), answer },
        "consume" => {
            let consume = Consume {
                queue: name(arguments[0]),
                consumer_tag: name(arguments[1]),
                acknowledgement: if has("no-ack") {
                    Acknowledgement::Automatic
                } else {
                    Acknowledgement::Manual
                },
                sharing: if has("exclusive") { Sharing::Exclusive } else { Sharing::Shared },
                arguments: table(arguments),
            };
            Operation::Consume { channel, consume: Box::new(consume), answer }
        }
        "replies" => replies(arguments),
        "cancel" => Operation::Cancel { channel, consumer_tag: name(arguments[0]), answer },
        "get" => Operation::Get {
            channel,
            queue: name(arguments[0]),
            acknowledgement: Acknowledgement::Manual,
        },
        "lease" => lease(arguments),
        "prefetch" => {
            let scope =
                if has("global") { PrefetchScope::Channel } else { PrefetchScope::Consumer };
            Operation::SetPrefetch { channel, count: number(0).try_into().unwrap(), scope }
        }
        "ack" | "ack-up-to" | "requeue" | "reject" | "fail" => settle(verb, number(0)),
        "introduce" => Operation::Introduce(SessionTraits {
            cancel_notify: CancelNotify::Heard,
            ..SessionTraits::default()
        }),
        "recover" => Operation::Recover { channel, answer },
        "open" => Operation::OpenChannel { channel },
        "close" => Operation::CloseChannel { channel, answer },
        _ => panic!("{verb}"),
    };
    batch.push(operation);
}

/// The words NAME=VALUE as a table; numbers are numbers, `true` is a flag, `-` the empty text.
pub(crate) fn table(arguments: &[&str]) -> Table {
    let mut table = Table::default();
    for (name, value) in arguments.iter().filter_map(|word| word.split_once('=')) {
        let value = match (value.parse::<i64>(), value) {
            (Ok(number), _) => Value::I64(number),
            (_, "true") => Value::Bool(true),
            (_, "-") => Value::text(""),
            (_, text) => Value::text(text),
        };
        table.push(name, value);
    }
    table
}

/// QUEUE [durable] [exclusive] [auto] [passive] [NAME=VALUE…]
fn declare_queue(arguments: &[&str]) -> Operation {
    let has = |flag: &str| arguments.contains(&flag);
    let declaration = QueueDeclaration {
        durable: has("durable"),
        exclusive: has("exclusive"),
        auto_delete: has("auto"),
        arguments: table(arguments),
    };
    let declare = if has("passive") { Declare::Passive } else { Declare::Active };
    let (queue, declaration) = (name(arguments[0]), Box::new(declaration));
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    Operation::DeclareQueue { channel, queue, declare, declaration, answer }
}

/// TAG ADDRESS [ack]
fn replies(arguments: &[&str]) -> Operation {
    let acknowledgement = if arguments.contains(&"ack") {
        Acknowledgement::Manual
    } else {
        Acknowledgement::Automatic
    };
    let (consumer_tag, address) = (name(arguments[0]), name(arguments[1]));
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    Operation::ConsumeReplies { channel, consumer_tag, address, acknowledgement, answer }
}

/// EXCHANGE KEY[,ALSO…] BODY… [transient] [mandatory] [ttl=MS] [priority=N]
fn publish(batch: &mut Batch, arguments: &[&str]) {
    let flags = ["transient", "mandatory"];
    let exchange = name(arguments[0]);
    let persistence = if arguments.contains(&"transient") {
        Persistence::Transient
    } else {
        Persistence::Persistent
    };
    let unroutable =
        if arguments.contains(&"mandatory") { Unroutable::Returned } else { Unroutable::Dropped };
    let (key, also) = arguments[1].split_once(',').unwrap_or((arguments[1], ""));
    let also: FurtherKeys =
        also.split(',').filter(|key| !key.is_empty()).map(|key| key.as_bytes().into()).collect();
    let options = table(arguments);
    let option = |name: &str| options.get(name).and_then(Value::as_integer);
    let bodies = arguments[2..].iter().filter(|word| !flags.contains(word) && !word.contains('='));
    for body in bodies {
        let head = MessageHead {
            persistence,
            exchange: exchange.as_str(),
            routing_key: key.as_bytes(),
            priority: option("priority").map(|priority| priority.try_into().unwrap()),
            expiration_ms: option("ttl").map(|ms| ms.try_into().unwrap()),
            ..MessageHead::default()
        };
        if body.len() < LARGE_BYTES_MIN {
            batch.publish_also(CHANNEL, unroutable, &head, body.as_bytes(), also.clone());
        } else {
            let bytes = body.len().try_into().unwrap();
            let mut large = LargeMessage::begin(&head, bytes).also(also.clone());
            large.body(body.as_bytes());
            batch.publish_large(CHANNEL, unroutable, large);
        }
    }
}
