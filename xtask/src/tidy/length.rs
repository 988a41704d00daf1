//! A file that grows too long hides a noun that deserves a file of its own.

use super::Complaint;
use crate::checkout::TextFile;

const PRODUCTION_LINES_MAX: usize = 600;

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    files
        .iter()
        .filter(|file| file.is_rust() && !file.is_test())
        .filter_map(|file| {
            let lines = file.production().lines().count();
            (lines > PRODUCTION_LINES_MAX).then(|| Complaint {
                place: file.path.clone(),
                what: format!("{lines} production lines, {PRODUCTION_LINES_MAX} at most"),
                remedy: "find the noun that wants to be a file of its own and move it there",
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};

    #[test]
    fn tests_do_not_count() {
        let check = |text: &str| said(super::check, &[file("crates/a/src/b.rs", text)]);
        let tests = format!("#[cfg(test)]\n{}", "\n".repeat(900));
        assert_eq!(check(&format!("{}{tests}", "\n".repeat(600))), Vec::<String>::new());
        assert_eq!(
            check(&"\n".repeat(601)),
            ["crates/a/src/b.rs: 601 production lines, 600 at most"]
        );
    }
}
