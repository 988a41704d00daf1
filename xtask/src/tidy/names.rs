//! Names that say nothing are not accepted: what is called a helper has no reason to exist.

use super::rust_code::code_only;
use super::{Complaint, line_number};
use crate::checkout::TextFile;

/// In lower case, as they stand between the humps and underscores of a name.
const EMPTY_WORDS: [&str; 8] =
    ["manager", "managers", "helper", "helpers", "util", "utils", "common", "misc"];

/// Crates of others, whose names we did not choose.
const OTHERS: [&str; 2] = ["http_body_util", "hyper_util"];

const REMEDY: &str = "name the thing after what it is in the manual, or what it does";

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if let Some(word) = empty_word(file.stem()) {
            complaints.push(Complaint {
                place: file.path.clone(),
                what: format!("a file called `{word}`"),
                remedy: REMEDY,
            });
        }
        let code = code_only(&file.text);
        for (offset, name) in identifiers(&code) {
            if empty_word(name).is_some() && !OTHERS.contains(&name) {
                complaints.push(Complaint {
                    place: format!("{}:{}", file.path, line_number(&code, offset)),
                    what: format!("the name `{name}`"),
                    remedy: REMEDY,
                });
            }
        }
    }
    complaints
}

fn empty_word(name: &str) -> Option<&'static str> {
    let words = words(name);
    EMPTY_WORDS.iter().find(|empty| words.iter().any(|word| word == *empty)).copied()
}

/// `DiskManager`, `disk_manager` and `DISK_MANAGER` are all `disk`, `manager`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' || letter == '-' || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase();
        if let Some(word) = words.last_mut()
            && letter.is_alphanumeric()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|name| !name.is_empty())
        .map(|name| (name.as_ptr() as usize - code.as_ptr() as usize, name))
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};

    #[test]
    fn empty_names() {
        let check = |path, text| said(super::check, &[file(path, text)]);
        assert_eq!(
            check("a/queue.rs", "// a helper\nlet utility = commonly;"),
            Vec::<String>::new()
        );
        assert_eq!(check("a/utils.rs", ""), ["a/utils.rs: a file called `utils`"]);
        assert_eq!(
            check("a/b.rs", "\nstruct DiskManager;\nfn my_helper() {}"),
            ["a/b.rs:2: the name `DiskManager`", "a/b.rs:3: the name `my_helper`"]
        );
    }
}
