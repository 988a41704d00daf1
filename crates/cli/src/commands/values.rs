//! `NAME=VALUE` on the command line: arguments, headers.

use serde_json::{Map, Value as Json};

/// A name and a value: JSON if it is any, a text otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedValue(String, Json);

/// Reads `NAME=VALUE`.
pub(crate) fn parse(text: &str) -> Result<NamedValue, String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
    Ok(NamedValue(name.to_owned(), value))
}

/// All of them as one object; the last of a name wins.
pub(crate) fn object(values: &[NamedValue]) -> Map<String, Json> {
    values.iter().map(|NamedValue(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_json_if_it_can_be() {
        for (text, value) in [
            ("x-max-length=5", json!(5)),
            ("x-queue-type=quorum", json!("quorum")),
            ("a=\"5\"", json!("5")),
            ("a=b=c", json!("b=c")),
            ("a=[1,2]", json!([1, 2])),
            ("a=", json!("")),
        ] {
            assert_eq!(parse(text).unwrap().1, value, "{text}");
        }
        assert!(parse("nothing").is_err());
    }
}
