//! The arrows between crates point down only.

use super::Complaint;
use crate::checkout::TextFile;

/// Which crates of the house each crate may know. The server wires the layers, so it sees them all.
/// A new protocol crate gets the same line as `amqp`.
const ARROWS: [(&str, &[&str]); 8] = [
    ("server", &["amqp", "cli", "http-api", "broker", "domain", "storage", "stdx"]),
    // A client of the HTTP API, which it knows from outside.
    ("cli", &[]),
    ("amqp", &["broker", "domain", "stdx"]),
    ("http-api", &["broker", "domain", "stdx"]),
    ("broker", &["domain", "storage", "stdx"]),
    ("domain", &["stdx"]),
    ("storage", &["stdx"]),
    ("stdx", &[]),
];

const REMEDY: &str = "move the code to the layer that may know both; ARCHITECTURE.md has the \
                      picture, xtask/src/tidy/layers.rs the table";

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files {
        let Some(name) =
            file.path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        let complain = |what: String| Complaint { place: file.path.clone(), what, remedy: REMEDY };
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            complaints.push(complain(format!("the crate `{name}` is in no layer")));
            continue;
        };
        match dependencies(&file.text) {
            Ok(found) => complaints.extend(
                found
                    .iter()
                    .filter(|found| ARROWS.iter().any(|(known, _)| known == found))
                    .filter(|found| !allowed.contains(&found.as_str()))
                    .map(|found| complain(format!("`{name}` must not know `{found}`"))),
            ),
            Err(error) => complaints.push(complain(error.to_string())),
        }
    }
    complaints
}

/// Everything the manifest depends on, tests and build scripts included.
fn dependencies(manifest: &str) -> Result<Vec<String>, toml::de::Error> {
    let manifest: toml::Table = toml::from_str(manifest)?;
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    Ok(sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};

    #[test]
    fn arrows() {
        let manifest = |name: &str, needs: &str| {
            file(&format!("crates/{name}/Cargo.toml"), &format!("[dependencies]\n{needs}"))
        };
        let check = |name, needs| said(super::check, &[manifest(name, needs)]);
        assert_eq!(check("amqp", "broker.workspace = true\nbytes = \"1\""), Vec::<String>::new());
        assert_eq!(
            check("amqp", "storage.workspace = true"),
            ["crates/amqp/Cargo.toml: `amqp` must not know `storage`"]
        );
        assert_eq!(
            check("domain", "storage = { path = \"../storage\" }"),
            ["crates/domain/Cargo.toml: `domain` must not know `storage`"]
        );
        assert_eq!(
            check("misfit", ""),
            ["crates/misfit/Cargo.toml: the crate `misfit` is in no layer"]
        );
    }
}
