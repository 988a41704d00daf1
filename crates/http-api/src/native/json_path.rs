//! Paths into JSON, as RFC 9535 writes them: names, indices and wildcards, which lead to each place once,
//! so that nobody's path takes longer than reading the JSON did. Filters, slices and `..` are not among
//! them. What is found there can be compared: `$.customer.id=42`.

use serde_json::Value as Json;

/// The longest path, in bytes, its value included.
const PATH_BYTES_MAX: usize = 1_024;

/// A path, and what is to be found there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath {
    steps: Vec<Step>,
    /// As it was written, and as JSON if it is such; `None`: anything.
    value: Option<(Box<str>, Option<Json>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    /// From the end, if it is below 0.
    Index(i64),
    All,
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPath {
    #[error("a path begins with $")]
    NoRoot,
    #[error("a path has at most {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "paths with .., slices or filters are not understood; .name, ['name'], [0] and [*] are"
    )]
    NotUnderstood,
    #[error("a path goes on with .name, .*, ['name'], [0] or [*], or ends with =VALUE")]
    NoStep,
}

impl JsonPath {
    /// Reads `PATH` or `PATH=VALUE`.
    pub(super) fn parse(text: &str) -> Result<JsonPath, NoPath> {
        if text.len() > PATH_BYTES_MAX {
            return Err(NoPath::TooLong);
        }
        let mut rest = text.strip_prefix('$').ok_or(NoPath::NoRoot)?;
        let mut steps = Vec::new();
        let mut value = None;
        while !rest.is_empty() {
            if let Some(written) = rest.strip_prefix('=') {
                value = Some((written.into(), serde_json::from_str(written).ok()));
                break;
            }
            let (step, behind) = if let Some(rest) = rest.strip_prefix('.') {
                take_name(rest)?
            } else if let Some(rest) = rest.strip_prefix('[') {
                take_bracketed(rest.trim_start())?
            } else {
                return Err(NoPath::NoStep);
            };
            steps.push(step);
            rest = behind;
        }
        Ok(JsonPath { steps, value })
    }

    /// Whether it leads somewhere in a document, to the value if one is said.
    pub(super) fn matches(&self, document: &Json) -> bool {
        self.leads_on(document, &self.steps)
    }

    fn leads_on(&self, at: &Json, steps: &[Step]) -> bool {
        let Some((step, rest)) = steps.split_first() else { return self.is_wanted(at) };
        let next = match (step, at) {
            (Step::Name(name), Json::Object(object)) => object.get(&**name),
            (Step::Index(index), Json::Array(values)) => nth(values, *index),
            (Step::All, Json::Object(object)) => {
                return object.values().any(|value| self.leads_on(value, rest));
            }
            (Step::All, Json::Array(values)) => {
                return values.iter().any(|value| self.leads_on(value, rest));
            }
            _nowhere => None,
        };
        next.is_some_and(|next| self.leads_on(next, rest))
    }

    fn is_wanted(&self, found: &Json) -> bool {
        let Some((written, value)) = &self.value else { return true };
        let is_same = match (found, value) {
            (Json::Number(one), Some(Json::Number(other))) => {
                one == other || one.as_f64() == other.as_f64()
            }
            (found, Some(value)) => found == value,
            (_, None) => false,
        };
        is_same || found.as_str() == Some(written)
    }
}

fn nth(values: &[Json], index: i64) -> Option<&Json> {
    let count = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { values.len().checked_sub(count)? } else { count };
    values.get(at)
}

fn take_name(rest: &str) -> Result<(Step, &str), NoPath> {
    if let Some(rest) = rest.strip_prefix('*') {
        return Ok((Step::All, rest));
    }
    let end = rest.find(['.', '[', '=']).unwrap_or(rest.len());
    match rest.split_at(end) {
        ("", behind) if behind.starts_with('.') => Err(NoPath::NotUnderstood),
        ("", _) => Err(NoPath::NoStep),
        (name, behind) => Ok((Step::Name(name.into()), behind)),
    }
}

/// What follows an opening bracket.
fn take_bracketed(rest: &str) -> Result<(Step, &str), NoPath> {
    let closed = |step, rest: &'_ str| {
        let behind = rest.trim_start().strip_prefix(']').map(str::len);
        behind.map(|len| (step, len)).ok_or(NoPath::NotUnderstood)
    };
    let behind = |len: usize| &rest[rest.len() - len..];
    let first = rest.chars().next().ok_or(NoPath::NoStep)?;
    let (step, len) = match first {
        '*' => closed(Step::All, &rest[1..])?,
        '\'' | '"' => {
            let (name, after) = take_quoted(&rest[1..], first)?;
            closed(Step::Name(name.into()), after)?
        }
        '-' | '0'..='9' => {
            let end =
                rest[1..].find(|it: char| !it.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
            let index = rest[..end].parse().map_err(|_no_number| NoPath::NoStep)?;
            closed(Step::Index(index), &rest[end..])?
        }
        '?' | ':' => return Err(NoPath::NotUnderstood),
        _other => return Err(NoPath::NoStep),
    };
    Ok((step, behind(len)))
}

/// A name up to its closing quote, and what follows that.
fn take_quoted(rest: &str, quote: char) -> Result<(String, &str), NoPath> {
    let mut name = String::new();
    let mut escaped = false;
    for (at, character) in rest.char_indices() {
        if escaped {
            name.push(character);
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return Ok((name, &rest[at + quote.len_utf8()..]));
        } else {
            name.push(character);
        }
    }
    Err(NoPath::NoStep)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_where_it_says() {
        let document = json!({
            "id": 42, "text": "42", "half": 0.5, "none": null, "a.b": {"it's": true},
            "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}],
        });
        for (path, expected) in [
            ("$", true),
            ("$.id", true),
            ("$.id=42", true),
            ("$.id=42.0", true),
            ("$.id=\"42\"", false),
            ("$.text=42", true),
            ("$.text=\"42\"", true),
            ("$.id=4", false),
            ("$.id.more", false),
            ("$.half=0.5", true),
            ("$.none", true),
            ("$.none=null", true),
            ("$.missing", false),
            ("$.missing=null", false),
            ("$['a.b']['it\\'s']=true", true),
            ("$[\"a.b\"][\"it's\"]", true),
            ("$.items[0].sku=x", true),
            ("$.items[1].sku=x", false),
            ("$.items[-1].sku=y", true),
            ("$.items[-3]", false),
            ("$.items[2]", false),
            ("$.items[*].sku=y", true),
            ("$.items[ * ].sku=z", false),
            ("$.*=42", true),
            ("$.*.*.n=2", true),
            ("$.items[0]={\"n\": 1, \"sku\": \"x\"}", true),
            ("$.text=", false),
        ] {
            let parsed = JsonPath::parse(path).unwrap();
            assert_eq!(parsed.matches(&document), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_said() {
        let long = format!("$.{}", "x".repeat(PATH_BYTES_MAX));
        for (path, expected) in [
            ("", NoPath::NoRoot),
            ("id", NoPath::NoRoot),
            ("$id", NoPath::NoStep),
            ("$.", NoPath::NoStep),
            ("$.a.", NoPath::NoStep),
            ("$[", NoPath::NoStep),
            ("$[]", NoPath::NoStep),
            ("$['a", NoPath::NoStep),
            ("$['a'", NoPath::NotUnderstood),
            ("$[x]", NoPath::NoStep),
            ("$[-]", NoPath::NoStep),
            ("$[99999999999999999999]", NoPath::NoStep),
            ("$..a", NoPath::NotUnderstood),
            ("$[?@.a==1]", NoPath::NotUnderstood),
            ("$[1:2]", NoPath::NotUnderstood),
            ("$[0,1]", NoPath::NotUnderstood),
            ("$[é]", NoPath::NoStep),
            (&long, NoPath::TooLong),
        ] {
            assert_eq!(JsonPath::parse(path), Err(expected), "{path}");
        }
    }
}
