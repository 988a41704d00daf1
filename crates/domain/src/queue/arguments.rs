//! A queue's arguments: which are known, what values they may have, and how two declarations
//! compare. Unknown ones are kept and change nothing, as RabbitMQ does it.

use super::settings::{QueueSettings, QueueType};
use crate::name::Name;
use crate::refusal::{ArgumentProblem, Kind, Refusal};
use crate::table::{Table, Value, equivalent};

/// What a known argument's value may be.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// An integer.
    Integer,
    /// An integer from 0 on.
    NonNegative,
    /// A time from 0 on, in milliseconds.
    Milliseconds,
    /// A time from 1 on, in milliseconds.
    PositiveMilliseconds,
    /// An integer from 1 on.
    Positive,
    /// An integer from 0 to 255.
    Priority,
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Which queues an argument may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Any: it acts, or ignoring it loses nothing (a hint, or what we do anyway).
    Any,
    /// It would be a lie to accept it for another type.
    Only(QueueType),
}

/// The known arguments: name, values, and which queues take them. Redeclarations compare them.
const KNOWN: &[(&str, Allowed, For)] = &[
    ("x-message-ttl", Allowed::Milliseconds, For::Any),
    ("x-expires", Allowed::PositiveMilliseconds, For::Any),
    ("x-max-length", Allowed::NonNegative, For::Any),
    ("x-max-length-bytes", Allowed::NonNegative, For::Any),
    ("x-overflow", Allowed::Word(&["drop-head", "reject-publish", "reject-publish-dlx"]), For::Any),
    ("x-dead-letter-exchange", Allowed::Text, For::Any),
    ("x-dead-letter-routing-key", Allowed::Text, For::Any),
    ("x-dead-letter-strategy", Allowed::Word(&["at-most-once", "at-least-once"]), For::Any),
    ("x-max-priority", Allowed::Priority, For::Only(QueueType::Classic)),
    ("x-single-active-consumer", Allowed::Flag, For::Any),
    ("x-delivery-limit", Allowed::Integer, For::Only(QueueType::Quorum)),
    ("x-consumer-timeout", Allowed::NonNegative, For::Any),
    ("x-done-ttl", Allowed::PositiveMilliseconds, For::Any),
    ("x-done-max-length", Allowed::Positive, For::Any),
    ("x-done-max-length-bytes", Allowed::Positive, For::Any),
    ("x-queue-type", Allowed::Word(&["classic", "quorum", "stream"]), For::Any),
    ("x-queue-mode", Allowed::Word(&["default", "lazy"]), For::Any),
    ("x-queue-version", Allowed::Positive, For::Any),
    ("x-queue-leader-locator", Allowed::Text, For::Any),
    ("x-queue-master-locator", Allowed::Text, For::Any),
    ("x-quorum-initial-group-size", Allowed::Positive, For::Any),
    ("x-quorum-target-group-size", Allowed::Positive, For::Any),
    ("x-max-in-memory-length", Allowed::NonNegative, For::Any),
    ("x-max-in-memory-bytes", Allowed::NonNegative, For::Any),
];

/// The longest time RabbitMQ takes: ten years.
const MILLISECONDS_MAX: i128 = 10 * 365 * 86_400_000;

/// Checks the arguments of a queue that is to be made.
pub(super) fn check(queue: &Name, arguments: &Table) -> Result<(), Refusal> {
    let invalid = |argument: &str, problem| Refusal::InvalidArgument {
        kind: Kind::Queue,
        name: queue.clone(),
        argument: argument.into(),
        problem,
    };
    let queue_type = QueueSettings::of(arguments).queue_type;
    for (argument, _, takers) in KNOWN {
        if arguments.get(argument).is_some()
            && let For::Only(only) = takers
            && *only != queue_type
        {
            let problem = ArgumentProblem::OfAnotherType(queue_type.as_str());
            return Err(invalid(argument, problem));
        }
    }
    for (argument, allowed, _) in KNOWN {
        if let Some(value) = arguments.get(argument) {
            check_value(value, *allowed).map_err(|problem| invalid(argument, problem))?;
        }
    }
    if arguments.get("x-dead-letter-routing-key").is_some()
        && arguments.get("x-dead-letter-exchange").is_none()
    {
        let problem = ArgumentProblem::Needs("x-dead-letter-exchange");
        return Err(invalid("x-dead-letter-routing-key", problem));
    }
    if arguments.get("x-queue-type").and_then(Value::as_text) == Some("stream") {
        return Err(Refusal::NotBuilt("x-queue-type=stream"));
    }
    Ok(())
}

fn check_value(value: &Value, allowed: Allowed) -> Result<(), ArgumentProblem> {
    let unacceptable = ArgumentProblem::UnacceptableType(value.type_name());
    match allowed {
        Allowed::Text => value.as_text().map(|_text| ()).ok_or(unacceptable),
        Allowed::Flag => matches!(value, Value::Bool(_)).then_some(()).ok_or(unacceptable),
        Allowed::Word(words) => {
            let text = value.as_text().ok_or(unacceptable)?;
            if words.contains(&text) {
                Ok(())
            } else {
                Err(ArgumentProblem::UnknownWord(text.into()))
            }
        }
        Allowed::Integer => integer(value, i128::MIN, i128::MAX),
        Allowed::NonNegative => integer(value, 0, i128::MAX),
        Allowed::Positive => integer(value, 1, i128::MAX),
        Allowed::Milliseconds => integer(value, 0, MILLISECONDS_MAX),
        Allowed::PositiveMilliseconds => integer(value, 1, MILLISECONDS_MAX),
        Allowed::Priority => integer(value, 0, 255),
    }
}

fn integer(value: &Value, least: i128, limit: i128) -> Result<(), ArgumentProblem> {
    let unacceptable = ArgumentProblem::UnacceptableType(value.type_name());
    match value.as_integer().ok_or(unacceptable)? {
        negative if negative < 0 && least >= 0 => Err(ArgumentProblem::Negative(negative)),
        value if value < least => Err(ArgumentProblem::NotPositive(value)),
        value if value > limit => Err(ArgumentProblem::TooLarge { value, limit }),
        _number => Ok(()),
    }
}

/// Compares the known arguments of two declarations; unknown ones may differ.
pub(super) fn compare(queue: &Name, received: &Table, current: &Table) -> Result<(), Refusal> {
    for (setting, _, _) in KNOWN {
        let (received, current) = (received.get(setting), current.get(setting));
        // A queue of no declared type is a classic one.
        let classic = Value::text("classic");
        let of_type = |value| {
            if *setting == "x-queue-type" { Some(value) } else { None }
        };
        if !equivalent(received.or(of_type(&classic)), current.or(of_type(&classic))) {
            return Err(Refusal::Inequivalent {
                kind: Kind::Queue,
                name: queue.clone(),
                setting,
                received: received.cloned(),
                current: current.cloned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(argument: &str, value: Value) -> String {
        let mut arguments = Table::default();
        arguments.push(argument, value);
        match check(&Name::new("q").unwrap(), &arguments) {
            Ok(()) => "ok".to_owned(),
            Err(Refusal::InvalidArgument { problem, .. }) => format!("{problem:?}"),
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn every_known_argument_takes_its_values_and_no_others() {
        for (argument, value, expected) in [
            ("x-message-ttl", Value::I32(-1), "Negative(-1)"),
            ("x-message-ttl", Value::text("1000"), "UnacceptableType(\"longstr\")"),
            ("x-message-ttl", Value::I64(0), "ok"),
            ("x-delivery-limit", Value::I32(5), "OfAnotherType(\"classic\")"),
            ("x-delivery-limit", Value::text("5"), "OfAnotherType(\"classic\")"),
            ("x-max-priority", Value::I32(0), "ok"),
            ("x-consumer-timeout", Value::I32(-1), "Negative(-1)"),
            ("x-expires", Value::U8(0), "NotPositive(0)"),
            (
                "x-expires",
                Value::I64(315_360_000_001),
                "TooLarge { value: 315360000001, limit: 315360000000 }",
            ),
            ("x-max-priority", Value::I32(256), "TooLarge { value: 256, limit: 255 }"),
            ("x-overflow", Value::text("spill"), "UnknownWord(\"spill\")"),
            ("x-overflow", Value::text("drop-head"), "ok"),
            ("x-single-active-consumer", Value::I8(1), "UnacceptableType(\"byte\")"),
            ("x-dead-letter-routing-key", Value::text("k"), "Needs(\"x-dead-letter-exchange\")"),
            ("x-queue-type", Value::text("classic"), "ok"),
            ("x-queue-type", Value::text("stream"), "NotBuilt(\"x-queue-type=stream\")"),
            ("x-queue-type", Value::text("odd"), "UnknownWord(\"odd\")"),
            ("x-done-ttl", Value::I32(0), "NotPositive(0)"),
            ("x-done-max-length", Value::I32(1), "ok"),
            ("x-done-max-length-bytes", Value::text("1"), "UnacceptableType(\"longstr\")"),
            ("x-unknown", Value::Void, "ok"),
            ("app-owner", Value::text("me"), "ok"),
        ] {
            assert_eq!(refused(argument, value.clone()), expected, "{argument}={value:?}");
        }
    }

    #[test]
    fn a_quorum_queue_takes_other_arguments_than_a_classic_one() {
        let quorum = |argument: &str, value| {
            let mut arguments = Table::default();
            arguments.push("x-queue-type", Value::text("quorum"));
            arguments.push(argument, value);
            check(&Name::new("q").unwrap(), &arguments)
        };
        assert_eq!(quorum("x-delivery-limit", Value::I32(-1)), Ok(()));
        assert_eq!(quorum("x-queue-mode", Value::text("lazy")), Ok(()));
        assert!(quorum("x-max-priority", Value::I32(3)).is_err());
    }

    #[test]
    fn known_arguments_are_compared_and_unknown_ones_are_not() {
        let name = Name::new("q").unwrap();
        let one = |argument: &str, value| {
            let mut table = Table::default();
            table.push(argument, value);
            table
        };
        let none = Table::default();
        assert_eq!(compare(&name, &one("x-unknown", Value::Void), &none), Ok(()));
        assert_eq!(compare(&name, &one("x-queue-type", Value::text("classic")), &none), Ok(()));
        let (wide, narrow) = (Value::I64(5), Value::U8(5));
        assert_eq!(compare(&name, &one("x-expires", wide), &one("x-expires", narrow)), Ok(()));
        assert!(compare(&name, &one("x-expires", Value::I64(5)), &none).is_err());
        assert!(compare(&name, &none, &one("x-queue-mode", Value::text("lazy"))).is_err());
    }
}
