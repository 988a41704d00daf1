//! The names and values that runs are made of: few, so that they meet often.

use std::collections::BTreeSet;

use domain::exchange::{ALTERNATE_EXCHANGE, ExchangeSettings, ExchangeType};
use domain::queue::QueueDeclaration;
use domain::table::{Table, Value};

use crate::random::Random;

/// Routing keys that tell bindings apart.
pub(crate) const KEYS: [&str; 5] = ["a", "b", "a.b", "a.c", "c.b.a"];

/// Keys that bindings have.
pub(crate) const BINDING_KEYS: [&str; 8] = ["a", "b", "a.b", "a.c", "a.*", "*.b", "#", "a.#"];

/// Where queues send what they give up; it keeps no rules itself.
pub(crate) const DEAD: &str = "dead";

/// Queues and what they are declared as: name, durable, auto-delete, exclusive.
const QUEUES: [(&str, bool, bool, bool); 9] = [
    (DEAD, true, false, false),
    ("orders", true, false, false),
    ("mails", true, false, false),
    ("audit", true, false, false),
    ("jobs", true, false, false),
    ("brief", true, true, false),
    ("news", false, false, false),
    ("ticks", false, true, false),
    ("mine", true, false, true),
];

/// Exchanges and what they are declared as: name, durable, auto-delete, internal.
const EXCHANGES: [(&str, bool, bool, bool); 7] = [
    ("x.one", true, false, false),
    ("x.two", true, false, false),
    ("x.three", true, false, false),
    ("x.fleeting", true, true, false),
    ("x.inner", true, false, true),
    ("x.volatile", false, false, false),
    ("x.fickle", false, true, false),
];

/// The exchanges that are always there.
pub(crate) const PREDECLARED: [&str; 5] =
    ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"];

/// Names that a run can meet, to look also for what should be gone. Those that the broker makes up
/// are not among them: what has one never survives.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) exchanges: BTreeSet<String>,
    pub(crate) queues: BTreeSet<String>,
}

/// All of them.
pub(crate) fn names() -> Names {
    let exchanges = EXCHANGES.iter().map(|(name, ..)| *name).chain(PREDECLARED);
    Names {
        exchanges: exchanges.map(str::to_owned).collect(),
        queues: QUEUES.iter().map(|(name, ..)| (*name).to_owned()).collect(),
    }
}

pub(crate) fn queue_number(name: &str) -> Option<usize> {
    QUEUES.iter().position(|(known, ..)| *known == name)
}

pub(crate) fn numbered_queue(number: u64) -> Option<&'static str> {
    QUEUES.get(usize::try_from(number).ok()?).map(|(name, ..)| *name)
}

pub(crate) fn queue_name(random: &mut Random) -> &'static str {
    random.pick(&QUEUES).map_or("", |(name, ..)| name)
}

pub(crate) fn exchange_name(random: &mut Random) -> &'static str {
    random.pick(&EXCHANGES).map_or("", |(name, ..)| name)
}

/// What a queue of that name is declared as; its arguments differ from run to run.
pub(crate) fn declaration(name: &str, rules: Option<u64>) -> QueueDeclaration {
    let known = QUEUES.iter().find(|(known, ..)| *known == name);
    let (_, durable, auto_delete, exclusive) = known.copied().unwrap_or_default();
    let arguments = rules.map(|rules| arguments(name, rules)).unwrap_or_default();
    QueueDeclaration { durable, exclusive, auto_delete, arguments }
}

/// The rules that a queue of that name keeps in a run with rules.
fn arguments(name: &str, rules: u64) -> Table {
    let at = QUEUES.iter().position(|(known, ..)| *known == name).unwrap_or(0);
    let mut random = Random::new(rules.wrapping_add(at as u64));
    let mut arguments = Table::default();
    if name == DEAD {
        return arguments;
    }
    // What the broker names can't be told by its letters.
    if random.chance(40) && name != "mine" {
        arguments.push("x-dead-letter-exchange", Value::text(""));
        arguments.push("x-dead-letter-routing-key", Value::text(DEAD));
    }
    if random.chance(40) {
        arguments.push("x-message-ttl", Value::I32(random.one_of([3, 20, 60, 200])));
    }
    if random.chance(25) {
        arguments.push("x-max-priority", Value::I32(4));
    }
    arguments
}

/// What an exchange of that name is declared as; type and alternate exchange differ from run to
/// run, by its flavour.
pub(crate) fn settings(name: &str, flavour: u64) -> ExchangeSettings {
    let at = EXCHANGES.iter().position(|(known, ..)| *known == name).unwrap_or(0);
    let (_, durable, auto_delete, internal) = EXCHANGES[at];
    let mut random = Random::new(flavour.wrapping_add(at as u64));
    let exchange_type = random.one_of([
        ExchangeType::Direct,
        ExchangeType::Fanout,
        ExchangeType::Topic,
        ExchangeType::Headers,
    ]);
    let mut arguments = Table::default();
    if random.chance(40) {
        arguments.push(ALTERNATE_EXCHANGE, Value::text(exchange_name(&mut random)));
    }
    ExchangeSettings { exchange_type, durable, auto_delete, internal, arguments }
}

/// Headers that tell bindings apart.
pub(crate) fn header_samples() -> [Table; 4] {
    [&[][..], &[("k", 1)], &[("m", 2)], &[("k", 1), ("m", 2)]].map(|pairs| {
        let mut table = Table::default();
        for (name, value) in pairs {
            table.push(name, Value::I32(*value));
        }
        table
    })
}

/// Arguments of a binding that a headers exchange understands.
pub(crate) fn binding_arguments(random: &mut Random) -> Table {
    let mut table = Table::default();
    if let Some(headers) = random.pick(&header_samples()) {
        table.0.extend(headers.0.iter().cloned());
    }
    if random.chance(50) {
        table.push("x-match", Value::text(random.one_of(["all", "any", "any-with-x"])));
    }
    table
}
