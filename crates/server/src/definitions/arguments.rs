//! Arguments in JSON become AMQP's, with the types that RabbitMQ gives them.

use domain::table::{Table, Value};
use serde_json::Value as Json;

use super::entry::{Entry, Fault, Problem};

/// The table under `arguments`; empty if there is none.
pub(super) fn table(entry: &Entry<'_>) -> Result<Table, Fault> {
    const KEY: &str = "arguments";
    match entry.get(KEY) {
        None => Ok(Table::default()),
        // An empty table may have come through a language whose tables and arrays are the same.
        Some(Json::Array(values)) if values.is_empty() => Ok(Table::default()),
        Some(Json::Object(object)) => {
            let mut path = vec![KEY];
            pairs(object, &mut path).map_err(|problem| entry.fault(&path.join("."), problem))
        }
        Some(_) => Err(entry.fault(KEY, Problem::MustBe("an object"))),
    }
}

/// `path` leads to the fault, if there is one.
fn pairs<'j>(
    object: &'j serde_json::Map<String, Json>,
    path: &mut Vec<&'j str>,
) -> Result<Table, Problem> {
    let mut table = Table::default();
    for (name, value) in object {
        path.push(name);
        if name.len() > u8::MAX.into() {
            return Err(Problem::NameTooLong);
        }
        table.push(name, convert(value, path)?);
        path.pop();
    }
    Ok(table)
}

fn convert<'j>(value: &'j Json, path: &mut Vec<&'j str>) -> Result<Value, Problem> {
    Ok(match value {
        Json::Null => return Err(Problem::Null),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => Value::text(text),
        Json::Number(number) => match (number.as_i64(), number.is_u64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, true) => return Err(Problem::TooLarge),
            (None, false) => Value::F64(number.as_f64().ok_or(Problem::TooLarge)?),
        },
        Json::Array(values) => {
            Value::Array(values.iter().map(|value| convert(value, path)).collect::<Result<_, _>>()?)
        }
        Json::Object(object) => Value::Table(pairs(object, path)?),
    })
}
