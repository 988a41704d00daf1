//! The steps that cargo knows: formatting, lints, tests, the build.

use super::{Form, Outcome};
use crate::command::{cargo, succeed};
use crate::failure::Failure;
use crate::{book, licences, tidy};

pub(super) fn formatting(_form: Form) -> Result<Outcome, Failure> {
    succeed(&mut cargo(["fmt", "--all", "--check"]))?;
    // The fuzz targets are a workspace of their own.
    succeed(&mut cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    Ok(Outcome::Passed)
}

pub(super) fn lints(_form: Form) -> Result<Outcome, Failure> {
    let deny = ["--", "-D", "warnings"];
    succeed(cargo(["clippy", "--quiet", "--workspace", "--all-targets"]).args(deny))?;
    // Its tests need a running broker, so they are behind a feature.
    let lapin = ["--package", "conformance-lapin", "--features", "live"];
    succeed(cargo(["clippy", "--quiet", "--all-targets"]).args(lapin).args(deny))?;
    Ok(Outcome::Passed)
}

pub(super) fn tidy(_form: Form) -> Result<Outcome, Failure> {
    tidy::run()?;
    Ok(Outcome::Passed)
}

pub(super) fn licences(_form: Form) -> Result<Outcome, Failure> {
    licences::run()?;
    Ok(Outcome::Passed)
}

pub(super) fn tests(_form: Form) -> Result<Outcome, Failure> {
    succeed(&mut cargo(["test", "--quiet", "--workspace"]))?;
    Ok(Outcome::Passed)
}

/// Only where mdBook is there already: building it takes minutes.
pub(super) fn book(form: Form) -> Result<Outcome, Failure> {
    if form == Form::Short && book::there().is_none() {
        return Ok(Outcome::Skipped("no mdBook (cargo xtask book builds one)"));
    }
    book::build()?;
    Ok(Outcome::Passed)
}

/// What the steps after it run: `target/release/postroom`.
pub(super) fn release_build(_form: Form) -> Result<Outcome, Failure> {
    succeed(&mut cargo(["build", "--quiet", "--release", "--package", "server"]))?;
    Ok(Outcome::Passed)
}
