//! The name somebody probably meant.

use std::cmp::Ordering;

/// The one of `names` that is most like `typed`: best one that has it as a part or is a part of it,
/// then the one with the fewest wrong letters.
pub(super) fn nearest<'a>(typed: &str, names: &'a [String]) -> Option<&'a str> {
    let likeness = |name: &str| {
        let one_in_the_other = name.contains(typed) || typed.contains(name);
        (one_in_the_other, strsim::normalized_damerau_levenshtein(typed, name))
    };
    names
        .iter()
        .map(String::as_str)
        .max_by(|a, b| likeness(a).partial_cmp(&likeness(b)).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    #[test]
    fn typing_errors() {
        let names: Vec<String> =
            ["data-dir", "sync", "sync-interval-ms", "amqp-port", "http-port", "bind"]
                .map(str::to_owned)
                .to_vec();
        let table = [
            ("data_dir", "data-dir"),
            ("datadir", "data-dir"),
            ("snyc", "sync"),
            ("sync-interval", "sync-interval-ms"),
            ("port", "http-port"),
            ("ampq-port", "amqp-port"),
            ("bind-address", "bind"),
        ];
        for (typed, expected) in table {
            assert_eq!(super::nearest(typed, &names), Some(expected), "{typed}");
        }
    }
}
