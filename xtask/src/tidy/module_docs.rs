//! Every file opens with why it exists, and a folder's file stands beside the folder.

use super::Complaint;
use crate::checkout::TextFile;

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if !file.text.starts_with("//! ") && !file.text.starts_with("#![no_main]\n//! ") {
            complaints.push(Complaint {
                place: format!("{}:1", file.path),
                what: "the file does not open with `//!`".to_owned(),
                remedy: "say in its first line why the file exists",
            });
        }
        if file.path.ends_with("/mod.rs") {
            complaints.push(Complaint {
                place: file.path.clone(),
                what: "a `mod.rs`".to_owned(),
                remedy: "name it after its folder and put it beside it: `foo.rs` and `foo/`",
            });
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};

    #[test]
    fn docs_and_names() {
        let check = |path, text| said(super::check, &[file(path, text)]);
        assert_eq!(check("a/b.rs", "//! Why.\n"), Vec::<String>::new());
        assert_eq!(check("a/b.rs", "use x;"), ["a/b.rs:1: the file does not open with `//!`"]);
        assert_eq!(check("a/mod.rs", "//! Why.\n"), ["a/mod.rs: a `mod.rs`"]);
    }
}
