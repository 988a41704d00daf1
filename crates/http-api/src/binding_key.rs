//! What tells the bindings between the same two apart, in one part of a path: RabbitMQ's
//! `properties_key`. A routing key in the form of a query, and behind `~` a digest of the arguments,
//! if there are any; `~` alone for neither.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::binding::BindingArguments;
use sha2::{Digest as _, Sha256};

/// Of a digest, so many bytes: keys are for paths.
const DIGEST_BYTES: usize = 12;

/// The properties key of a binding.
pub(crate) fn properties_key(routing_key: &[u8], arguments: &BindingArguments) -> String {
    let mut key = String::new();
    for byte in routing_key {
        match byte {
            b' ' => key.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-._".contains(byte) => {
                key.push(char::from(*byte));
            }
            // Writing to a string can't fail.
            byte => _ = write!(key, "%{byte:02X}"),
        }
    }
    if !arguments.0.0.is_empty() {
        let mut bytes = Vec::new();
        arguments.0.write(&mut bytes);
        let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..DIGEST_BYTES]);
        return format!("{key}~{digest}");
    }
    if key.is_empty() { "~".to_owned() } else { key }
}

#[cfg(test)]
mod tests {
    use domain::table::{Table, Value};

    use super::*;

    #[test]
    fn keys_are_rabbitmqs_where_there_are_no_arguments() {
        let none = BindingArguments::default();
        for (routing_key, expected) in [
            ("", "~"),
            ("k", "k"),
            ("a.b-c_d", "a.b-c_d"),
            ("a b/c~d", "a+b%2Fc%7Ed"),
            ("#.*", "%23.%2A"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(properties_key(routing_key.as_bytes(), &none), expected);
        }
    }

    #[test]
    fn bindings_with_other_arguments_have_other_keys() {
        let with = |number| {
            let mut table = Table::default();
            table.push("n", Value::I64(number));
            BindingArguments(table)
        };
        let (one, two) = (properties_key(b"", &with(1)), properties_key(b"", &with(2)));
        assert!(one.starts_with('~') && one.len() == 17 && one != two, "{one} {two}");
    }
}
