//! The checkout: where it is, and the text files in it.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what tools made, not what people wrote.
const MADE_BY_TOOLS: [&str; 10] = [
    ".git",
    "target",
    ".hypothesis",
    "node_modules",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    "corpus",
    "artifacts",
    "postroom-data",
];

/// One text file.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// From the top of the checkout, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    /// The file's name without folders and ending.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split_once('.').map_or(name, |(stem, _)| stem)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.ends_in("rs")
    }

    pub(crate) fn ends_in(&self, ending: &str) -> bool {
        has_ending(&self.path, ending)
    }

    /// Whether it holds only tests: an integration test, or a `tests.rs` beside the code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The lines before the first test module.
    pub(crate) fn production(&self) -> &str {
        self.text.find("#[cfg(test)]").map_or(self.text.as_str(), |end| &self.text[..end])
    }
}

/// Whether the file at `path` is of the kind that `ending` names.
pub(crate) fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

/// The top of the checkout.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Every text file in the checkout, in order of path.
pub(crate) fn text_files() -> Vec<TextFile> {
    let mut files = Vec::new();
    gather(&root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn gather(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        // In a worktree of git's, `.git` is a file.
        if MADE_BY_TOOLS.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            gather(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(TextFile { path, text });
        }
    }
}
