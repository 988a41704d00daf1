//! Lists under `/api`: those of a name, in some order, a page of them, and of each only what is
//! asked for. Parameters that are not known are ignored, as RabbitMQ does.

use std::cmp::Ordering;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::looking;
use crate::problem::Problem;
use crate::query::Parameters;

const PAGE_SIZE: u64 = 100;
const PAGE_SIZE_MAX: u64 = 500;

/// The most that a pattern may take when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The parameters as they came.
#[derive(Debug, Default, Deserialize)]
struct Words {
    page: Option<String>,
    page_size: Option<String>,
    name: Option<String>,
    use_regex: Option<String>,
    columns: Option<String>,
    sort: Option<String>,
    sort_reverse: Option<String>,
    disable_stats: Option<String>,
    enable_queue_totals: Option<String>,
}

/// How a list, or one thing, shall be shown.
#[derive(Debug, Default)]
pub(super) struct Wish {
    page: Option<Page>,
    /// Paths of what is asked for; empty: everything.
    columns: Vec<Path>,
    sort: Option<Path>,
    direction: Direction,
    pub(super) detail: Detail,
}

/// Where something stands in a document.
type Path = Vec<String>;

#[derive(Debug)]
struct Page {
    number: u64,
    size: u64,
    named: Named,
}

#[derive(Debug)]
enum Named {
    Anything,
    Containing(String),
    Like(regex::Regex),
}

#[derive(Clone, Copy, Debug, Default)]
enum Direction {
    #[default]
    Up,
    Down,
}

/// How much of each thing is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Detail {
    /// What it was declared as.
    Declaration,
    /// And how many messages are in it.
    Totals,
    /// Everything.
    #[default]
    Everything,
}

impl<S: Send + Sync> FromRequestParts<S> for Wish {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Wish, Problem> {
        let Parameters(words) = Parameters::<Words>::from_request_parts(parts, state).await?;
        Wish::read(words)
    }
}

fn is_true(word: Option<&String>) -> bool {
    word.is_some_and(|word| word == "true")
}

fn whole(word: Option<&String>, field: &str) -> Result<Option<u64>, Problem> {
    let parse = |word: &String| word.parse();
    word.map(parse).transpose().map_err(|_not_a_number| {
        Problem::bad_request("it must be a whole number from 1 up").field(field)
    })
}

/// RabbitMQ has words of its own for pages that can't be.
fn bad_page(reason: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_pagination_parameters", reason)
}

fn path(text: &str) -> Path {
    text.split('.').map(str::to_owned).collect()
}

impl Wish {
    fn read(words: Words) -> Result<Wish, Problem> {
        let detail = match (is_true(words.disable_stats.as_ref()), words.enable_queue_totals) {
            (true, totals) if is_true(totals.as_ref()) => Detail::Totals,
            (true, _) => Detail::Declaration,
            (false, _) => Detail::Everything,
        };
        let down = is_true(words.sort_reverse.as_ref());
        let columns = words.columns.as_deref().unwrap_or_default().split(',');
        let named = words.name.filter(|name| !name.is_empty());
        let named = match (named, is_true(words.use_regex.as_ref())) {
            (None, _) => Named::Anything,
            (Some(name), false) => Named::Containing(name.to_lowercase()),
            (Some(name), true) => Named::Like(pattern(&name)?),
        };
        let size = whole(words.page_size.as_ref(), "page_size")?;
        let page = whole(words.page.as_ref(), "page")?;
        let page = page.map(|number| Page::new(number, size, named)).transpose()?;
        Ok(Wish {
            page,
            columns: columns.filter(|column| !column.is_empty()).map(path).collect(),
            sort: words.sort.as_deref().filter(|sort| !sort.is_empty()).map(path),
            direction: if down { Direction::Down } else { Direction::Up },
            detail,
        })
    }
}

/// A pattern, found anywhere in a name, in any case.
fn pattern(pattern: &str) -> Result<regex::Regex, Problem> {
    let mut builder = RegexBuilder::new(pattern);
    builder.case_insensitive(true).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        Problem::bad_request(format!("{pattern:?} is no regular expression: {error}")).field("name")
    })
}

impl Page {
    fn new(number: u64, size: Option<u64>, named: Named) -> Result<Page, Problem> {
        let said = size.map_or("undefined".to_owned(), |size| size.to_string());
        let size = size.unwrap_or(PAGE_SIZE);
        if number == 0 || size == 0 || size > PAGE_SIZE_MAX {
            let reason = format!(
                "Invalid pagination parameters: page number {number}, page size {said}; pages are \
                 counted from 1 and have at most {PAGE_SIZE_MAX} items"
            );
            return Err(bad_page(reason));
        }
        Ok(Page { number, size, named })
    }

    fn wants(&self, name: &str) -> bool {
        match &self.named {
            Named::Anything => true,
            Named::Containing(part) => name.to_lowercase().contains(part.as_str()),
            Named::Like(regex) => regex.is_match(name),
        }
    }
}

/// A thing as it is shown.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<S> {
    Whole(S),
    Columns(Map<String, Json>),
}

/// A page of a list, as RabbitMQ shows it.
#[derive(Serialize)]
struct PageOut<S> {
    filtered_count: usize,
    item_count: usize,
    items: Vec<S>,
    page: u64,
    page_count: u64,
    page_size: u64,
    total_count: usize,
}

impl Wish {
    /// One thing.
    pub(super) fn show(&self, thing: &impl Serialize) -> Result<Response, Problem> {
        looking::json(&self.shown(thing))
    }

    /// A list that is in its usual order.
    pub(super) fn answer<T, S: Serialize>(
        &self,
        mut things: Vec<T>,
        name: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> S,
    ) -> Result<Response, Problem> {
        let total_count = things.len();
        if let Some(page) = &self.page {
            things.retain(|thing| page.wants(name(thing)));
        }
        if let Some(path) = &self.sort {
            things.sort_by_cached_key(|thing| Rank::of(&show(thing), path));
        }
        if matches!(self.direction, Direction::Down) {
            things.reverse();
        }
        let Some(page) = &self.page else {
            let all: Vec<_> = things.iter().map(|thing| self.shown(show(thing))).collect();
            return looking::json(&all);
        };
        let filtered_count = things.len();
        let page_count = (filtered_count as u64).div_ceil(page.size);
        if page.number > page_count.max(1) {
            let reason = format!(
                "Page out of range, page: {} page size: {}, len: {filtered_count}",
                page.number, page.size
            );
            return Err(Problem::new(StatusCode::BAD_REQUEST, "page_out_of_range", reason));
        }
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        let skipped = usize::try_from((page.number - 1) * page.size).unwrap_or(usize::MAX);
        let items = things.iter().skip(skipped).take(size);
        let items: Vec<_> = items.map(|thing| self.shown(show(thing))).collect();
        looking::json(&PageOut {
            filtered_count,
            item_count: items.len(),
            items,
            page: page.number,
            page_count,
            page_size: page.size,
            total_count,
        })
    }

    fn shown<S: Serialize>(&self, thing: S) -> Shown<S> {
        if self.columns.is_empty() {
            return Shown::Whole(thing);
        }
        let whole = serde_json::to_value(&thing).unwrap_or_default();
        let mut picked = Map::new();
        for path in &self.columns {
            pick(&whole, path, &mut picked);
        }
        Shown::Columns(picked)
    }
}

/// Takes over what stands at a path, and where it stands.
fn pick(from: &Json, path: &[String], into: &mut Map<String, Json>) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(found) = from.get(first) else { return };
    if rest.is_empty() {
        into.insert(first.clone(), found.clone());
        return;
    }
    let mut inner = Map::new();
    pick(found, rest, &mut inner);
    if inner.is_empty() {
        return;
    }
    match into.entry(first.clone()).or_insert_with(|| Json::Object(Map::new())) {
        Json::Object(there) => there.extend(inner),
        // The whole of it is there already.
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {}
    }
}

/// What something is sorted by: numbers come before words; what is not there counts as zero.
#[derive(Debug)]
enum Rank {
    Number(f64),
    Word(String),
}

impl Rank {
    fn of(thing: &impl Serialize, path: &[String]) -> Rank {
        let whole = serde_json::to_value(thing).unwrap_or_default();
        let found = path.iter().try_fold(&whole, |at, step| at.get(step));
        match found {
            None => Rank::Number(0.0),
            Some(Json::Number(number)) => Rank::Number(number.as_f64().unwrap_or_default()),
            Some(Json::String(text)) => Rank::Word(text.clone()),
            Some(other @ (Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_))) => {
                Rank::Word(other.to_string())
            }
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        match (self, other) {
            (Rank::Number(one), Rank::Number(other)) => one.total_cmp(other),
            (Rank::Word(one), Rank::Word(other)) => one.cmp(other),
            (Rank::Number(_), Rank::Word(_)) => Ordering::Less,
            (Rank::Word(_), Rank::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Rank) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(query: &str) -> Result<Wish, Problem> {
        let uri: axum::http::Uri = format!("/?{query}").parse().unwrap();
        Wish::read(axum::extract::Query::try_from_uri(&uri).unwrap().0)
    }

    async fn listed(query: &str) -> Json {
        let things = vec![
            json!({"name": "a1", "n": 3, "deep": {"x": 1, "y": 2}}),
            json!({"name": "b1", "n": 1}),
            json!({"name": "A2", "n": 2, "deep": {"x": 5}}),
        ];
        let name = |thing: &Json| thing["name"].as_str().unwrap().to_owned();
        let things: Vec<_> = things.into_iter().map(|thing| (name(&thing), thing)).collect();
        let answered = wish(query)
            .and_then(|wish| wish.answer(things, |(name, _)| name, |(_, thing)| thing.clone()));
        match answered {
            Ok(response) => {
                let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
                serde_json::from_slice(&bytes).unwrap()
            }
            Err(problem) => json!(format!("{problem:?}").split('"').nth(1)),
        }
    }

    #[tokio::test]
    async fn lists_are_cut_and_ordered_as_wished() {
        for (query, expected) in [
            ("columns=n", json!([{"n": 3}, {"n": 1}, {"n": 2}])),
            ("columns=n&sort=n", json!([{"n": 1}, {"n": 2}, {"n": 3}])),
            ("columns=n&sort=n&sort_reverse=true", json!([{"n": 3}, {"n": 2}, {"n": 1}])),
            ("columns=n&sort_reverse=true", json!([{"n": 2}, {"n": 1}, {"n": 3}])),
            ("columns=name&sort=deep.x", json!([{"name": "b1"}, {"name": "a1"}, {"name": "A2"}])),
            ("columns=deep.x,nothing", json!([{"deep": {"x": 1}}, {}, {"deep": {"x": 5}}])),
            (
                "columns=deep.x,deep.y,n&name=a1",
                json!([
                    {"n": 3, "deep": {"x": 1, "y": 2}}, {"n": 1}, {"n": 2, "deep": {"x": 5}},
                ]),
            ),
        ] {
            assert_eq!(listed(query).await, expected, "{query}");
        }
    }

    #[tokio::test]
    async fn pages_are_counted_as_rabbitmq_counts_them() {
        let page = |items: Json, number: u64, pages: u64, size: u64, filtered: u64| {
            json!({
                "items": items, "item_count": items.as_array().unwrap().len(), "page": number,
                "page_count": pages, "page_size": size, "filtered_count": filtered,
                "total_count": 3,
            })
        };
        for (query, expected) in [
            ("page=1&page_size=2", page(json!([{"n": 3}, {"n": 1}]), 1, 2, 2, 3)),
            ("page=2&page_size=2", page(json!([{"n": 2}]), 2, 2, 2, 3)),
            ("page=1&name=A", page(json!([{"n": 3}, {"n": 2}]), 1, 1, 100, 2)),
            ("page=1&name=1$&use_regex=true", page(json!([{"n": 3}, {"n": 1}]), 1, 1, 100, 2)),
            ("page=1&name=none&pagination=false", page(json!([]), 1, 0, 100, 0)),
            ("page=3&page_size=2", json!("page_out_of_range")),
            ("page=0", json!("invalid_pagination_parameters")),
            ("page=1&page_size=501", json!("invalid_pagination_parameters")),
            ("page=1&page_size=0", json!("invalid_pagination_parameters")),
            ("page=x", json!("bad_request")),
            ("page=-1", json!("bad_request")),
            ("page=1&name=(&use_regex=true", json!("bad_request")),
        ] {
            assert_eq!(listed(&format!("columns=n&{query}")).await, expected, "{query}");
        }
    }
}
