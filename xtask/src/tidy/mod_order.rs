//! `mod` lines stand in reading order, entrance first and foundation last, and `use` points only
//! down that order. So a crate can be read from top to bottom and has no cycles.

use std::collections::HashMap;

use super::rust_code::code_only;
use super::{Complaint, line_number};
use crate::checkout::TextFile;

const REMEDY: &str = "move what is needed further down, or put the `mod` lines into the order in \
                      which they should be read";

/// The children of each module, in the order of their `mod` lines.
type Children = HashMap<ModulePath, Vec<String>>;

/// The crate's folder, then the modules down to the one that is meant.
type ModulePath = Vec<String>;

pub(super) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let sources: Vec<(&TextFile, ModulePath, String)> = files
        .iter()
        .filter(|file| file.is_rust())
        .filter_map(|file| Some((file, module_path(&file.path)?, code_only(file.production()))))
        .collect();
    let mut children = Children::new();
    for (_, module, code) in &sources {
        children.entry(module.clone()).or_default().extend(mod_lines(code));
    }
    let mut complaints = Vec::new();
    for (file, module, code) in &sources {
        for (offset, statement) in use_statements(code) {
            let mut upward: Vec<(String, String)> = expand(statement)
                .iter()
                .filter_map(|import| resolve(import, module))
                .filter_map(|target| points_up(module, &target, &children))
                .collect();
            upward.dedup();
            complaints.extend(upward.into_iter().map(|(own, above)| Complaint {
                place: format!("{}:{}", file.path, line_number(code, offset)),
                what: format!("`{own}` uses `{above}`, which stands above it"),
                remedy: REMEDY,
            }));
        }
    }
    complaints
}

/// `crates/broker/src/vhost/publish.rs` is `crates/broker`, `vhost`, `publish`.
fn module_path(path: &str) -> Option<ModulePath> {
    let (folder, inside) = path.split_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let mut module = vec![folder.to_owned()];
    if inside != "lib" && inside != "main" {
        module.extend(inside.split('/').map(str::to_owned));
    }
    Some(module)
}

fn mod_lines(code: &str) -> Vec<String> {
    code.lines()
        .filter_map(|line| {
            let line =
                line.strip_prefix("pub ").or(line.strip_prefix("pub(crate) ")).unwrap_or(line);
            Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
        })
        .collect()
}

/// The trees of all `use` statements, with the offset of each.
fn use_statements(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in code.split_inclusive('\n') {
        let statement = line.trim_start();
        let indent = line.len() - statement.len();
        let statement = match statement.strip_prefix("pub") {
            Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest),
            None => statement,
        };
        if let Some(tree) = statement.strip_prefix("use ") {
            let start = line_start + line.len() - tree.len();
            let end = code[start..].find(';').map_or(code.len(), |end| start + end);
            found.push((line_start + indent, &code[start..end]));
        }
        line_start += line.len();
    }
    found
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    split_outside_braces(inside)
        .into_iter()
        .flat_map(expand)
        .filter(|branch| !branch.is_empty())
        .map(|branch| format!("{prefix}{branch}"))
        .collect()
}

fn split_outside_braces(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// The full path of an import of the same crate; `None` for what comes from elsewhere.
fn resolve(import: &str, module: &ModulePath) -> Option<ModulePath> {
    let import = import.split(" as ").next().unwrap_or_default();
    let mut segments = import.split("::").map(str::trim).peekable();
    let mut path = match segments.next()? {
        "crate" => vec![module.first()?.clone()],
        "self" => module.clone(),
        "super" => {
            let mut parent = module.clone();
            parent.pop();
            while segments.next_if_eq(&"super").is_some() {
                parent.pop();
            }
            parent
        }
        _ => return None,
    };
    path.extend(segments.map(str::to_owned));
    Some(path)
}

/// The two siblings of which the upper one is used by the lower one, if so.
fn points_up(
    module: &[String],
    target: &[String],
    children: &Children,
) -> Option<(String, String)> {
    let fork = module.iter().zip(target).position(|(own, other)| own != other)?;
    let order = children.get(&module[..fork])?;
    let own = order.iter().position(|name| *name == module[fork])?;
    let other = order.iter().position(|name| *name == target[fork])?;
    (other < own).then(|| (module[fork].clone(), target[fork].clone()))
}

#[cfg(test)]
mod tests {
    use super::super::{file, said};
    use crate::checkout::TextFile;

    const NONE: [&str; 0] = [];

    fn with(path: &str, text: &str) -> [TextFile; 3] {
        [
            file("crates/c/src/lib.rs", "mod a;\npub mod b;\npub(crate) mod d;\n"),
            file("crates/c/src/b.rs", "mod x;\nmod y;\n"),
            file(path, text),
        ]
    }

    #[test]
    fn up_and_down() {
        let table: [(&str, &str, &[&str]); 9] = [
            ("a.rs", "use crate::b::T;\nuse std::a;\nuse crate::{b, d::T};", &NONE),
            ("d.rs", "use crate::a::T;", &["1: `d` uses `a`, which stands above it"]),
            (
                "d.rs",
                "\npub(crate) use crate::{\n  b::{T, U}};",
                &["2: `d` uses `b`, which stands above it"],
            ),
            ("b/x.rs", "use crate::b::T;\nuse super::y::T;", &NONE),
            ("b/y.rs", "use super::x::T;", &["1: `y` uses `x`, which stands above it"]),
            ("b/y.rs", "use crate::a;", &["1: `b` uses `a`, which stands above it"]),
            ("b/y.rs", "use super::super::a;", &["1: `b` uses `a`, which stands above it"]),
            ("d.rs", "// use crate::a;\n#[cfg(test)]\nuse crate::a;", &NONE),
            ("d.rs", "use crate::T as a;", &NONE),
        ];
        for (path, text, expected) in table {
            let path = format!("crates/c/src/{path}");
            let expected: Vec<String> =
                expected.iter().map(|what| format!("{path}:{what}")).collect();
            assert_eq!(said(super::check, &with(&path, text)), expected, "{path} {text}");
        }
    }
}
