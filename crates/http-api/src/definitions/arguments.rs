//! Arguments in JSON become AMQP's, with the types that RabbitMQ gives them.

use domain::table::{Table, Value};
use serde_json::Value as Json;

use super::entry::{Entry, Fault, Problem};

/// The table under `arguments`; empty if there is none.
pub(crate) fn table(entry: &Entry<'_>) -> Result<Table, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(json: &str) -> Result<Value, Problem> {
        convert(&serde_json::from_str(json).unwrap(), &mut Vec::new())
    }

    #[test]
    fn types_are_those_of_rabbitmqs_import() {
        let table = |pairs: &[(&str, Value)]| {
            let mut table = Table::default();
            for (name, value) in pairs {
                table.push(name, value.clone());
            }
            Value::Table(table)
        };
        for (json, expected) in [
            ("true", Ok(Value::Bool(true))),
            ("\"é\"", Ok(Value::text("é"))),
            ("1", Ok(Value::I64(1))),
            ("-9223372036854775808", Ok(Value::I64(i64::MIN))),
            ("9223372036854775808", Err(Problem::TooLarge)),
            ("1.5", Ok(Value::F64(1.5))),
            ("1e3", Ok(Value::F64(1000.0))),
            ("null", Err(Problem::Null)),
            (
                "[1, [\"a\"]]",
                Ok(Value::Array(vec![Value::I64(1), Value::Array(vec![Value::text("a")])])),
            ),
            ("{\"a\": {}, \"b\": 1}", Ok(table(&[("a", table(&[])), ("b", Value::I64(1))]))),
            ("[{\"a\": null}]", Err(Problem::Null)),
        ] {
            assert_eq!(converted(json), expected, "{json}");
        }
        let long = format!("{{\"{}\": 1}}", "n".repeat(256));
        assert_eq!(converted(&long), Err(Problem::NameTooLong));
    }
}
