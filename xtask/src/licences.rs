//! Every dependency's licence is one we accept.

use std::process::Command;

use serde_json::Value;

use crate::checkout;
use crate::failure::Failure;

/// Licences that may be linked into an Apache-2.0 program without further duties than naming them.
const ACCEPTED: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Asks cargo for every crate of the workspace, and of the fuzz targets, and looks at its licence;
/// the same for what the lock files of npm name.
pub(crate) fn run() -> Result<(), Failure> {
    let mut seen = 0;
    let mut complaints = Vec::new();
    let mut look = |package: &str, licence: Option<&str>| {
        seen += 1;
        match licence {
            Some(licence) if accepted(licence) => {}
            Some(licence) => complaints.push(format!("{package}: {licence}")),
            None => complaints.push(format!("{package}: names no licence")),
        }
    };
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        if checkout::root().join(manifest).exists() {
            for package in crates(manifest)? {
                look(&package.0, package.1.as_deref());
            }
        }
    }
    for file in checkout::text_files() {
        if file.path.ends_with("package-lock.json") {
            for package in npm_packages(&file.text)
                .map_err(|error| Failure::new(format!("{}: {error}", file.path)))?
            {
                look(&package.0, package.1.as_deref());
            }
        }
    }
    if complaints.is_empty() {
        println!("licences: {seen} packages, every licence is on the list");
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\nlicences: not on the list in xtask/src/licences.rs\n    remedy: use another package, \
         or add the licence there if an Apache-2.0 program may carry it",
        complaints.join("\n")
    )))
}

type Package = (String, Option<String>);

fn crates(manifest: &str) -> Result<Vec<Package>, Failure> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path", manifest])
        .current_dir(checkout::root())
        .output()
        .map_err(unreadable)?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(unreadable)?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(packages
        .iter()
        // What has no source is our own.
        .filter(|package| package["source"].is_string())
        .map(|package| (text(&package["name"]), package["license"].as_str().map(str::to_owned)))
        .collect())
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cargo metadata: {error}"))
}

fn npm_packages(lock: &str) -> Result<Vec<Package>, serde_json::Error> {
    let lock: Value = serde_json::from_str(lock)?;
    let packages = lock["packages"].as_object().into_iter().flatten();
    Ok(packages
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, package)| (path.clone(), package["license"].as_str().map(str::to_owned)))
        .collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether an SPDX expression leaves us a choice we accept. `A/B` is an old spelling of `A OR B`.
fn accepted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    any_of(&words)
}

fn any_of(words: &[&str]) -> bool {
    split(words, "OR").into_iter().any(all_of)
}

fn all_of(words: &[&str]) -> bool {
    split(words, "AND").into_iter().all(|words| match words {
        ["(", inside @ .., ")"] => any_of(inside),
        licence => ACCEPTED.contains(&licence.join(" ").as_str()),
    })
}

/// Splits at `operator` where it stands outside brackets.
fn split<'a>(words: &'a [&'a str], operator: &str) -> Vec<&'a [&'a str]> {
    let mut depth = 0;
    words
        .split(|word| {
            match *word {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            depth == 0 && *word == operator
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::accepted;

    #[test]
    fn expressions() {
        let table = [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT AND GPL-3.0-only) OR LGPL-2.1", false),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("", false),
        ];
        for (expression, expected) in table {
            assert_eq!(accepted(expression), expected, "{expression}");
        }
    }
}
