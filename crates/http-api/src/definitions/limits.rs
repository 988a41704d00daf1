//! Limits of single virtual hosts and users, as RabbitMQ writes them: an object of numbers, below 0 for
//! none.

use broker::{LimitKind, Limited, Max, OwnLimit};
use serde_json::{Map, Value as Json, json};

use super::entry::{Entry, Fault, Problem};

/// RabbitMQ keeps those of a virtual host among the parameters, under this component and name.
pub(crate) const VHOST_LIMITS: &str = "vhost-limits";
pub(crate) const LIMITS: &str = "limits";

/// The number that stands for a limit.
pub(crate) fn shown(limits: &[OwnLimit], of: &Limited) -> Map<String, Json> {
    let own = limits.iter().filter(|limit| limit.of == *of);
    own.map(|limit| (limit.kind.as_str().to_owned(), number(limit.max))).collect()
}

fn number(max: Max) -> Json {
    max.map_or(json!(-1), |max| json!(max))
}

/// The limit that a number stands for; `None`: it is no whole number, or too large a one.
pub(crate) fn max(number: &Json) -> Option<Max> {
    match number.as_i64()? {
        ..0 => Some(None),
        max => u32::try_from(max).ok().map(Some),
    }
}

/// What stands under `key`: nothing, or an object of limits.
pub(super) fn of_entry(entry: &Entry<'_>, key: &str, of: &Limited) -> Result<Vec<OwnLimit>, Fault> {
    let object = match entry.get(key) {
        None => return Ok(Vec::new()),
        Some(Json::Object(object)) => object,
        // What an empty object is in Erlang.
        Some(Json::Array(none)) if none.is_empty() => return Ok(Vec::new()),
        Some(_) => return Err(entry.fault(key, Problem::MustBe("an object of numbers"))),
    };
    let mut limits = Vec::new();
    for (name, number) in object {
        let Some(kind) = LimitKind::named(name, of) else {
            tracing::warn!(limit = name, "a limit of the definitions is unknown and passed over");
            continue;
        };
        let wrong = || entry.fault(key, Problem::MustBe("an object of numbers below 2^32"));
        limits.push(OwnLimit { of: of.clone(), kind, max: max(number).ok_or_else(wrong)? });
    }
    Ok(limits)
}
