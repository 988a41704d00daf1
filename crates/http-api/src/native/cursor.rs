//! Lists under `/v1`: those of a name, a page at a time. A page says where the next one begins.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::looking;
use crate::problem::Problem;

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// The most that a pattern may take when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParameters {
    /// The virtual host; all that the user may see if not said.
    pub(crate) vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    pub(crate) limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    pub(crate) after: Option<String>,
    /// Only those whose name begins with this.
    pub(crate) name: Option<String>,
    /// Only those whose name matches this regular expression somewhere.
    pub(crate) pattern: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Ask with this as `after` for those behind; left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// How many there are on all pages together.
    pub(crate) total: usize,
}

/// Which part of a list, understood.
#[derive(Debug)]
pub(super) struct Part {
    limit: usize,
    after: Option<String>,
    prefix: String,
    pattern: Option<Regex>,
}

/// The key that a page begins behind.
fn read_cursor(cursor: &str) -> Result<String, Problem> {
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
    let problem = || Problem::bad_request("no page ended so").field("after");
    key.ok_or_else(|| problem().remedy("give what stood as `next` in the page before"))
}

impl Part {
    pub(super) fn of(parameters: &PageParameters) -> Result<Part, Problem> {
        let limit = parameters.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let problem = Problem::bad_request(format!("a page has from 1 to {LIMIT_MAX} items"));
            return Err(problem.field("limit"));
        }
        let compile = |pattern: &String| {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
                let detail = format!("{pattern:?} is no regular expression: {error}");
                Problem::bad_request(detail).field("pattern")
            })
        };
        Ok(Part {
            limit,
            after: parameters.after.as_deref().map(read_cursor).transpose()?,
            prefix: parameters.name.clone().unwrap_or_default(),
            pattern: parameters.pattern.as_ref().map(compile).transpose()?,
        })
    }

    fn wants(&self, name: &str) -> bool {
        let pattern = self.pattern.as_ref();
        name.starts_with(&self.prefix) && pattern.is_none_or(|pattern| pattern.is_match(name))
    }

    /// The part of a list. What comes and goes between two pages moves nothing else: each thing has a
    /// `key` of its own, by which the list is sorted, and a page begins behind the last key of the one
    /// before.
    pub(super) fn answer<T, S: Serialize>(
        &self,
        mut things: Vec<T>,
        name: impl Fn(&T) -> &str,
        key: impl Fn(&T) -> String,
        show: impl Fn(&T) -> S,
    ) -> Result<Response, Problem> {
        things.retain(|thing| self.wants(name(thing)));
        let mut keyed: Vec<_> = things.iter().map(|thing| (key(thing), thing)).collect();
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let total = keyed.len();
        let begin =
            self.after.as_ref().map_or(0, |after| keyed.partition_point(|(it, _)| it <= after));
        let rest = keyed.get(begin..).unwrap_or_default();
        let page = rest.get(..self.limit).unwrap_or(rest);
        let next = page.last().filter(|_| page.len() < rest.len());
        let next = next.map(|(key, _)| URL_SAFE_NO_PAD.encode(key));
        let items: Vec<S> = page.iter().map(|(_, thing)| show(thing)).collect();
        looking::json(&Page { items, next, total })
    }
}

/// A number as a part of a key: keys are sorted as texts, and these are in the order of the numbers.
pub(super) fn key_of_number(number: f64) -> String {
    let bits = number.to_bits();
    // Numbers below zero are turned round; the others come behind them.
    let ordered = if number.is_sign_negative() { !bits } else { bits | (1 << 63) };
    format!("{ordered:016x}")
}

/// The same, the largest first.
pub(super) fn key_of_number_down(number: f64) -> String {
    key_of_number(-number)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    async fn page(parameters: PageParameters) -> Json {
        let part = Part::of(&parameters).unwrap();
        let things: Vec<String> =
            ["b", "d", "ab", "c", "a"].iter().map(|it| (*it).to_owned()).collect();
        let page = part.answer(things, |it| it, Clone::clone, Clone::clone).unwrap();
        let bytes = axum::body::to_bytes(page.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as parameters have it")]
    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as parameters have it")]
    fn cursor(key: &str) -> Option<String> {
        Some(URL_SAFE_NO_PAD.encode(key))
    }

    #[tokio::test]
    async fn pages_follow_each_other() {
        let base = PageParameters::default;
        for (parameters, expected) in [
            (base(), json!({"items": ["a", "ab", "b", "c", "d"], "total": 5})),
            (
                PageParameters { limit: Some(2), ..base() },
                json!({"items": ["a", "ab"], "next": cursor("ab"), "total": 5}),
            ),
            (
                PageParameters { limit: Some(2), after: cursor("ab"), ..base() },
                json!({"items": ["b", "c"], "next": cursor("c"), "total": 5}),
            ),
            (
                PageParameters { limit: Some(2), after: cursor("c"), ..base() },
                json!({"items": ["d"], "total": 5}),
            ),
            // Where it was is gone.
            (
                PageParameters { limit: Some(1), after: cursor("bb"), ..base() },
                json!({"items": ["c"], "next": cursor("c"), "total": 5}),
            ),
            (PageParameters { after: cursor("z"), ..base() }, json!({"items": [], "total": 5})),
            (
                PageParameters { name: text("a"), ..base() },
                json!({"items": ["a", "ab"], "total": 2}),
            ),
            (
                PageParameters { pattern: text("b$"), ..base() },
                json!({"items": ["ab", "b"], "total": 2}),
            ),
        ] {
            assert_eq!(page(parameters).await, expected);
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let base = PageParameters::default;
        for (parameters, field) in [
            (PageParameters { limit: Some(0), ..base() }, "limit"),
            (PageParameters { limit: Some(1_001), ..base() }, "limit"),
            (PageParameters { after: text("no cursor"), ..base() }, "after"),
            (PageParameters { pattern: text("("), ..base() }, "pattern"),
            (PageParameters { pattern: text("(a{999}){999}"), ..base() }, "pattern"),
        ] {
            let problem = Part::of(&parameters).unwrap_err();
            assert_eq!(problem.clone().field(field), problem);
        }
    }

    #[test]
    fn keys_of_numbers_are_in_their_order() {
        let numbers = [-1e9, -2.5, -1.0, -0.0, 0.0, 0.1, 1.0, 2.0, 10.0, 1e18];
        assert!(numbers.map(key_of_number).is_sorted());
        assert!(numbers.map(key_of_number_down).iter().rev().is_sorted());
    }
}
