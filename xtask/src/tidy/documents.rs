//! The repository speaks of itself alone: no folder of somebody's machine, no document that is not
//! here, no number of a tracker.

use std::collections::HashSet;

use super::{Complaint, line_number};
use crate::checkout::{TextFile, has_ending};

/// Folders in which people keep their own things.
const PRIVATE_FOLDERS: [&str; 6] = ["home", "root", "Users", "mnt", "work", "workspace"];

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let names: HashSet<&str> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !is_lock_file(file)) {
        let mut complain = |offset, what, remedy| {
            let place = format!("{}:{}", file.path, line_number(&file.text, offset));
            complaints.push(Complaint { place, what, remedy });
        };
        for (offset, word) in words(&file.text) {
            if let Some(folder) = private_folder(word) {
                complain(
                    offset,
                    format!("a path outside the repository, under `/{folder}`"),
                    "use a path relative to the top of the repository",
                );
            }
            if let Some(name) = document(word)
                && !names.contains(name)
                && !file.path.starts_with("xtask/src/tidy/")
            {
                complain(
                    offset,
                    format!("the document `{name}` is not in the repository"),
                    "name a document that a reader of the repository has",
                );
            }
        }
        for (offset, number) in tracker_numbers(&file.text) {
            complain(
                offset,
                format!("`issue {number}`"),
                "say what it is about; readers don't have that tracker",
            );
        }
        if file.ends_in("md") {
            for (offset, link) in links(&file.text) {
                if !exists(&paths, &file.path, link) {
                    complain(
                        offset,
                        format!("the link `{link}` leads nowhere"),
                        "link to a file in the repository, relative to this one",
                    );
                }
            }
        }
    }
    complaints
}

fn is_lock_file(file: &TextFile) -> bool {
    file.ends_in("lock") || file.path.ends_with("package-lock.json")
}

/// What stands between white space, quotes and brackets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|letter: char| letter.is_whitespace() || "\"'`()[]{}<>,;=|".contains(letter))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

fn private_folder(word: &str) -> Option<&'static str> {
    let first = word.strip_prefix("file://").unwrap_or(word).strip_prefix('/')?;
    let (folder, _) = first.split_once('/')?;
    PRIVATE_FOLDERS.iter().find(|private| **private == folder).copied()
}

/// The name of a Markdown file, if that is what the word names.
fn document(word: &str) -> Option<&str> {
    let word = word.trim_end_matches(['.', ':', '*', '_']);
    if word.contains("://") || word.contains('*') {
        return None;
    }
    let name = word.split('#').next()?.rsplit('/').next()?;
    has_ending(name, "md").then_some(name)
}

fn tracker_numbers(text: &str) -> Vec<(usize, &str)> {
    text.match_indices("issue ")
        .filter_map(|(offset, found)| {
            let number = text[offset + found.len()..].trim_start_matches('#');
            let digits =
                number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            (digits > 0).then(|| (offset, &number[..digits]))
        })
        .collect()
}

/// The targets of `[text](target)` that are not on the web or in the same document.
fn links(text: &str) -> Vec<(usize, &str)> {
    text.match_indices("](")
        .filter_map(|(offset, _)| {
            let target = text[offset + 2..].split([')', ' ']).next()?;
            let target = target.split('#').next()?;
            (!target.is_empty() && !target.contains("://")).then_some((offset, target))
        })
        .collect()
}

fn exists(paths: &HashSet<&str>, from: &str, link: &str) -> bool {
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    for step in link.trim_end_matches('/').split('/') {
        match step {
            ".." if folders.pop().is_none() => return false,
            "." | ".." => {}
            name => folders.push(name),
        }
    }
    let target = folders.join("/");
    paths.contains(target.as_str())
        || paths.iter().any(|path| path.strip_prefix(&target).is_some_and(|r| r.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};

    #[test]
    fn what_is_not_here() {
        let check = |text: &str| {
            let files = [file("docs/a.md", text), file("docs/b/C.md", ""), file("README.md", "")];
            said(super::check, &files)
        };
        let fine = "see [b](b/C.md), [up](../README.md#x), [web](https://x.y/z.md), b/C.md, \
                    an issue. /var/lib/postroom target/work/x";
        assert_eq!(check(fine), Vec::<String>::new());
        let table = [
            (concat!("x\n\"/ho", "me/me/x\""), "2: a path outside the repository, under `/home`"),
            (concat!("(/wo", "rk/main)"), "1: a path outside the repository, under `/work`"),
            ("[b](b/D.rs)", "1: the link `b/D.rs` leads nowhere"),
            ("[b](../../x.rs)", "1: the link `../../x.rs` leads nowhere"),
            ("as NOTES.md says", "1: the document `NOTES.md` is not in the repository"),
            (concat!("see iss", "ue #12"), concat!("1: `iss", "ue 12`")),
        ];
        for (text, expected) in table {
            assert_eq!(check(text), [format!("docs/a.md:{expected}")]);
        }
    }
}
