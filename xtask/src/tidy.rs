//! The rules of the house that a machine can check. Each complaint carries its remedy.

mod documents;
mod layers;
mod length;
mod mod_order;
mod module_docs;
mod names;

mod rust_code;

use crate::checkout::{self, TextFile};
use crate::failure::Failure;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Where, as `path` or `path:line`.
    place: String,
    what: String,
    remedy: &'static str,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}\n    remedy: {}", self.place, self.what, self.remedy)
    }
}

/// A rule looks at all files and names what breaks it.
type Rule = fn(&[TextFile]) -> Vec<Complaint>;

const RULES: [Rule; 6] = [
    layers::check,
    length::check,
    module_docs::check,
    mod_order::check,
    names::check,
    documents::check,
];

/// Checks the whole checkout.
pub(crate) fn run() -> Result<(), Failure> {
    let files = checkout::text_files();
    let complaints: Vec<String> =
        RULES.iter().flat_map(|rule| rule(&files)).map(|complaint| complaint.to_string()).collect();
    if complaints.is_empty() {
        println!("tidy: {} files, nothing to complain about", files.len());
        return Ok(());
    }
    let count = complaints.len();
    Err(Failure::new(format!("{}\ntidy: {count} complaints", complaints.join("\n"))))
}

/// The number of the line that holds the byte at `offset`.
fn line_number(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.to_owned(), text: text.to_owned() }
}

/// What a rule says about `files`, as `place: what` lines.
#[cfg(test)]
fn said(rule: Rule, files: &[TextFile]) -> Vec<String> {
    rule(files).into_iter().map(|c| format!("{}: {}", c.place, c.what)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checkout_is_tidy() {
        if let Err(report) = super::run() {
            panic!("\n{report}");
        }
    }
}
