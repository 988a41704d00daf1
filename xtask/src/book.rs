//! The manual as a book, made by mdBook. No test needs it: links and examples are checked on the pages
//! themselves.

use std::path::PathBuf;

use crate::checkout;
use crate::command::{cargo, program, succeed};
use crate::failure::Failure;

const MDBOOK_VERSION: &str = "0.5.4";

/// Builds it into `target/book`, with an mdBook that is built before if there is none.
pub(crate) fn build() -> Result<(), Failure> {
    let mdbook = match there() {
        Some(mdbook) => mdbook,
        None => install()?,
    };
    succeed(&mut program(mdbook, ["build", "docs"]))?;
    println!("target/book/index.html");
    Ok(())
}

/// The mdBook that a build before this one has left here, or the system's.
pub(crate) fn there() -> Option<PathBuf> {
    [own(), PathBuf::from("mdbook")].into_iter().find(|mdbook| {
        program(mdbook, ["--version"]).output().is_ok_and(|output| output.status.success())
    })
}

fn own() -> PathBuf {
    checkout::root().join("target/tools/bin/mdbook")
}

fn install() -> Result<PathBuf, Failure> {
    let options = ["--quiet", "--locked", "--no-default-features", "--features", "search"];
    succeed(
        cargo(["install", "mdbook", "--version", MDBOOK_VERSION])
            .args(options)
            .arg("--root")
            .arg(checkout::root().join("target/tools")),
    )?;
    Ok(own())
}
