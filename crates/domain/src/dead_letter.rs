//! Dead letters: what a message becomes that its queue gives up, and which queues must not take it
//! again (RabbitMQ's `rabbit_dead_letter`). The history stands in the message's own headers:
//! `x-death` has an entry for each queue and reason, the latest first; `x-first-death-…` and
//! `x-last-death-…` name the ends of it.

use crate::properties::{Edit, Expiration, Properties};
use crate::table::{Table, TableError, Value};

/// Why a queue gives a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its consumer will never take it.
    Rejected,
    /// It waited too long.
    Expired,
    /// The queue was too long.
    MaxLength,
    /// It failed too often.
    DeliveryLimit,
}

impl Reason {
    /// RabbitMQ's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Who wrote the `x-death` that a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Its publisher, or nobody: it says nothing about what happened here.
    Publisher,
    /// This broker, when it dead-lettered the message before.
    Broker,
}

/// One death of a message.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// The queue that gave it up.
    pub queue: &'a str,
    /// Why.
    pub reason: Reason,
    /// The exchange it had been published to.
    pub exchange: &'a str,
    /// Its routing key.
    pub routing_key: &'a [u8],
    /// When, in seconds since 1970.
    pub time_seconds: u64,
    /// In place of its routing keys from now on, if given.
    pub dead_letter_routing_key: Option<&'a [u8]>,
    /// What its last consumer said, if it said something.
    pub error: Option<DeathError<'a>>,
}

/// Why a message could not be handled, in its consumer's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeathError<'a> {
    /// Its kind, for programs.
    pub kind: &'a str,
    /// For people.
    pub message: &'a str,
}

/// What a message becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its properties, with the history.
    pub properties: Vec<u8>,
    /// Routing keys besides its own: those of `CC`.
    pub also: Box<[Box<[u8]>]>,
    /// The entries of `x-death`, the latest first.
    deaths: Vec<Value>,
}

const X_DEATH: &str = "x-death";
const ERROR_TYPE: &str = "x-error-type";
const ERROR_MESSAGE: &str = "x-error-message";
const CC: &str = "CC";

impl DeadLetter {
    /// Writes a death into a message's history.
    pub fn of(
        properties: Properties<'_>,
        author: Author,
        death: &Death<'_>,
    ) -> Result<DeadLetter, TableError> {
        let headers = properties.headers()?;
        let mut deaths = match (author, headers.get(X_DEATH)) {
            (Author::Broker, Some(Value::Array(deaths))) => deaths.clone(),
            _forged_or_none => Vec::new(),
        };
        let is_first = deaths.is_empty();
        let copies = copies(&headers);
        let same = deaths.iter().position(|known| is_same(known, death));
        let entry = match same.map(|at| deaths.remove(at)) {
            Some(Value::Table(known)) => Value::Table(counted_again(known)),
            _new => Value::Table(entry(death, &copies, properties.expiration())),
        };
        deaths.insert(0, entry);

        let mut with = Table::default();
        if let Some(error) = death.error {
            with.push(ERROR_TYPE, Value::text(error.kind));
            with.push(ERROR_MESSAGE, Value::text(error.message));
        }
        let ends = [("first", is_first), ("last", true)];
        for (end, _) in ends.into_iter().filter(|(_, is_written)| *is_written) {
            for (what, text) in [
                ("reason", death.reason.as_str()),
                ("queue", death.queue),
                ("exchange", death.exchange),
            ] {
                with.push(&format!("x-{end}-death-{what}"), Value::text(text));
            }
        }
        with.push(X_DEATH, Value::Array(deaths.clone()));
        let replaced = death.dead_letter_routing_key.is_some();
        let without: &[&str] = if replaced { &[CC] } else { &[] };
        let edit = Edit { without, with, expiration: Expiration::Dropped };
        let also = if replaced { Box::default() } else { copies.into() };
        Ok(DeadLetter { properties: properties.edit(&edit)?, also, deaths })
    }

    /// Whether this queue must not take the message for such a reason: it was there before, and
    /// nobody rejected it since, so that it would go round for ever.
    pub fn is_cycle(&self, queue: &str, reason: Reason) -> bool {
        if reason == Reason::Rejected {
            return false;
        }
        let Some(at) = self.deaths.iter().position(|death| text(death, "queue") == Some(queue))
        else {
            return false;
        };
        let rejected = Some(Reason::Rejected.as_str());
        self.deaths.iter().take(at + 1).all(|death| text(death, "reason") != rejected)
    }
}

fn text<'a>(death: &'a Value, field: &str) -> Option<&'a str> {
    if let Value::Table(death) = death { death.get(field)?.as_text() } else { None }
}

fn is_same(known: &Value, death: &Death<'_>) -> bool {
    text(known, "queue") == Some(death.queue)
        && text(known, "reason") == Some(death.reason.as_str())
}

fn counted_again(mut known: Table) -> Table {
    for (name, value) in &mut known.0 {
        if &**name == b"count"
            && let Value::I64(count) = value
        {
            *count = count.saturating_add(1);
        }
    }
    known
}

fn entry(death: &Death<'_>, copies: &[Box<[u8]>], expiration: Option<&[u8]>) -> Table {
    let keys = std::iter::once(death.routing_key).chain(copies.iter().map(|key| &**key));
    let keys = keys.map(|key| Value::LongString(key.into())).collect();
    let mut entry = Table::default();
    entry.push("count", Value::I64(1));
    entry.push("reason", Value::text(death.reason.as_str()));
    entry.push("queue", Value::text(death.queue));
    entry.push("time", Value::Timestamp(death.time_seconds));
    entry.push("exchange", Value::text(death.exchange));
    entry.push("routing-keys", Value::Array(keys));
    if let Some(expiration) = expiration {
        entry.push("original-expiration", Value::LongString(expiration.into()));
    }
    entry
}

/// The routing keys in `CC`.
fn copies(headers: &Table) -> Vec<Box<[u8]>> {
    let Some(Value::Array(keys)) = headers.get(CC) else { return Vec::new() };
    let key =
        |value: &Value| if let Value::LongString(key) = value { Some(key.clone()) } else { None };
    keys.iter().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &'static str, reason: Reason) -> Death<'static> {
        Death {
            queue,
            reason,
            exchange: "x",
            routing_key: b"k",
            time_seconds: 1_000,
            dead_letter_routing_key: None,
            error: None,
        }
    }

    /// Dies in turn of each `queue reason`; says `queue reason count` of the history.
    fn history(deaths: &[(&'static str, Reason)]) -> (String, DeadLetter) {
        let mut properties = vec![0, 0];
        let (mut author, mut last) = (Author::Publisher, None);
        for (queue, reason) in deaths {
            let of = Properties(&properties);
            let letter = DeadLetter::of(of, author, &death(queue, *reason)).unwrap();
            properties.clone_from(&letter.properties);
            (author, last) = (Author::Broker, Some(letter));
        }
        let letter = last.unwrap();
        let told = letter.deaths.iter().map(|death| {
            let Value::Table(table) = death else { return "?".to_owned() };
            let count = table.get("count").and_then(Value::as_integer).unwrap();
            format!("{} {} {count}", text(death, "queue").unwrap(), text(death, "reason").unwrap())
        });
        (told.collect::<Vec<_>>().join(", "), letter)
    }

    #[test]
    fn the_latest_death_comes_first_and_repeated_ones_are_counted() {
        use Reason::{Expired, MaxLength, Rejected};
        let (told, letter) = history(&[("a", Expired), ("b", Rejected), ("a", MaxLength)]);
        assert_eq!(told, "a maxlen 1, b rejected 1, a expired 1");
        let headers = Properties(&letter.properties).headers().unwrap();
        let header = |name: &str| headers.get(name).and_then(Value::as_text).unwrap().to_owned();
        assert_eq!(header("x-first-death-queue"), "a");
        assert_eq!(header("x-first-death-reason"), "expired");
        assert_eq!(header("x-last-death-reason"), "maxlen");
        let (told, _) = history(&[("a", Expired), ("b", Rejected), ("a", Expired)]);
        assert_eq!(told, "a expired 2, b rejected 1");
    }

    #[test]
    fn an_error_goes_with_the_message_and_the_latest_is_shown() {
        let told = |properties: &[u8], error| {
            let death = Death { error, ..death("q", Reason::Rejected) };
            let letter = DeadLetter::of(Properties(properties), Author::Publisher, &death);
            let properties = letter.unwrap().properties;
            let headers = Properties(&properties).headers().unwrap();
            let header = |name| headers.get(name).and_then(Value::as_text).map(str::to_owned);
            let told = (header(ERROR_TYPE), header(ERROR_MESSAGE));
            (properties, told)
        };
        let error = |kind, message| Some(DeathError { kind, message });
        let some = |kind: &str, message: &str| (Some(kind.to_owned()), Some(message.to_owned()));
        let (properties, first) = told(&[0, 0], None);
        assert_eq!(first, (None, None));
        let (properties, second) = told(&properties, error("Timeout", "no answer"));
        assert_eq!(second, some("Timeout", "no answer"));
        let (properties, third) = told(&properties, error("Refused", ""));
        assert_eq!(third, some("Refused", ""));
        assert_eq!(told(&properties, None).1, some("Refused", ""));
    }

    #[test]
    fn a_cycle_without_a_rejection_is_one() {
        use Reason::{Expired, MaxLength, Rejected};
        let (_, letter) = history(&[("a", Expired)]);
        assert!(letter.is_cycle("a", Expired) && !letter.is_cycle("b", Expired));
        let (_, letter) = history(&[("a", Rejected), ("b", Expired)]);
        assert!(!letter.is_cycle("a", Expired) && letter.is_cycle("b", Expired));
        let (_, letter) = history(&[("a", Expired), ("b", MaxLength)]);
        assert!(letter.is_cycle("a", MaxLength) && !letter.is_cycle("a", Rejected));
    }

    #[test]
    fn copies_stay_unless_another_key_takes_their_place() {
        let mut headers = Table::default();
        headers.push(CC, Value::Array(vec![Value::text("c"), Value::I32(1)]));
        headers.push(X_DEATH, Value::text("forged"));
        headers.push("x-first-death-queue", Value::text("forged"));
        let mut bytes = vec![0x21, 0];
        headers.write(&mut bytes);
        bytes.extend(b"\x0260");
        let of = |death: &Death<'_>| {
            let letter = DeadLetter::of(Properties(&bytes), Author::Publisher, death).unwrap();
            let headers = Properties(&letter.properties).headers().unwrap();
            assert_eq!(Properties(&letter.properties).expiration(), None);
            assert_eq!(headers.get("x-first-death-queue"), Some(&Value::text("q")));
            let Some(Value::Array(deaths)) = headers.get(X_DEATH) else { unreachable!() };
            let Some(Value::Table(entry)) = deaths.first() else { unreachable!() };
            let keys = Value::Array(vec![Value::text("k"), Value::text("c")]);
            assert_eq!(entry.get("routing-keys"), Some(&keys));
            assert_eq!(entry.get("original-expiration"), Some(&Value::text("60")));
            (letter.also.len(), headers.get(CC).is_some())
        };
        let plain = death("q", Reason::Expired);
        assert_eq!(of(&plain), (1, true));
        assert_eq!(of(&Death { dead_letter_routing_key: Some(b"d"), ..plain }), (0, false));
    }
}
