//! Tables of typed values in JSON: headers and arguments. JSON has fewer types than AMQP; they become
//! those that RabbitMQ gives them.

use domain::table::{DEPTH_MAX, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::problem::Problem;

/// The longest name in a table, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A table as a JSON object. Bytes that are no UTF-8 are shown as well as they can be.
pub(crate) fn shown(table: &Table) -> Map<String, Json> {
    let pair = |(name, value): &(Box<[u8]>, Value)| (text(name), show(value));
    table.0.iter().map(pair).collect()
}

/// Bytes that should be UTF-8.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value as JSON.
pub(crate) fn show(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::F32(number) => float((*number).into()),
        Value::F64(number) => float(*number),
        Value::Decimal { scale, value } => {
            float(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
        }
        Value::Timestamp(seconds) => Json::from(*seconds),
        Value::LongString(bytes) | Value::Bytes(bytes) => Json::String(text(bytes)),
        Value::Void => Json::Null,
        Value::Array(values) => Json::Array(values.iter().map(show).collect()),
        Value::Table(table) => Json::Object(shown(table)),
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => {
            let integer = value.as_integer().and_then(|integer| i64::try_from(integer).ok());
            Json::from(integer)
        }
    }
}

/// JSON has no infinity.
fn float(number: f64) -> Json {
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

/// A JSON object as a table; `field` is where it stands in the request.
pub(crate) fn table(object: &Map<String, Json>, field: &str) -> Result<Table, Problem> {
    read_table(object, field, 0)
}

fn read_table(object: &Map<String, Json>, field: &str, depth: usize) -> Result<Table, Problem> {
    let mut table = Table::default();
    for (name, value) in object {
        let field = format!("{field}.{name}");
        if name.len() > NAME_BYTES_MAX {
            let detail = format!("a name has at most {NAME_BYTES_MAX} bytes");
            return Err(Problem::bad_request(detail).field(field));
        }
        table.push(name, read(value, &field, depth)?);
    }
    Ok(table)
}

fn read(value: &Json, field: &str, depth: usize) -> Result<Value, Problem> {
    if depth >= DEPTH_MAX {
        let detail = format!("values are nested at most {DEPTH_MAX} deep");
        return Err(Problem::bad_request(detail).field(field));
    }
    Ok(match value {
        Json::Null => Value::Void,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => Value::text(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, Some(float)) if !number.is_u64() => Value::F64(float),
            (None, _) => {
                let detail = "a number is at most 9223372036854775807";
                return Err(Problem::bad_request(detail).field(field));
            }
        },
        Json::Array(values) => {
            let value = |(at, value)| read(value, &format!("{field}[{at}]"), depth + 1);
            Value::Array(values.iter().enumerate().map(value).collect::<Result<_, _>>()?)
        }
        Json::Object(object) => Value::Table(read_table(object, field, depth + 1)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_can_say_comes_back() {
        let text = r#"{"a": 1, "b": "é", "c": [true, null, -2.5], "d": {"e": {}}}"#;
        let object: Map<String, Json> = serde_json::from_str(text).unwrap();
        assert_eq!(shown(&table(&object, "headers").unwrap()), object);
    }

    #[test]
    fn what_a_table_cannot_say_is_named() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let long = format!("{{\"{}\": 1}}", "n".repeat(256));
        for (json, field) in [
            ("[1, 18446744073709551615]", "h.x[1]".to_owned()),
            (&deep, format!("h.x{}", "[0]".repeat(DEPTH_MAX))),
            (&long, format!("h.x.{}", "n".repeat(256))),
        ] {
            let object = format!("{{\"x\": {json}}}");
            let object: Map<String, Json> = serde_json::from_str(&object).unwrap();
            let problem = table(&object, "h").unwrap_err();
            assert_eq!(problem.clone().field(field), problem);
        }
    }
}
