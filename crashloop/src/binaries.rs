//! Which broker and which preloaded library to take. Unless told otherwise: this workspace's own,
//! built here, so that a run never judges a stale binary.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;

#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    pub(crate) broker: PathBuf,
    pub(crate) forgetful: PathBuf,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BinaryError {
    #[error("cargo can't be run: {0}")]
    Cargo(#[from] io::Error),
    #[error("building the {0} failed")]
    Build(&'static str),
    #[error("{0} is missing")]
    Missing(PathBuf),
}

/// The workspace, three names up from where cargo puts this program: `target/release/crashloop`.
fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

pub(crate) fn target() -> PathBuf {
    workspace().join("target")
}

pub(crate) fn find(arguments: &Arguments) -> Result<Binaries, BinaryError> {
    let broker = match (&arguments.binary, &arguments.planted_fault) {
        (Some(binary), _) => binary.clone(),
        (None, None) => build("server", &[], &target())?.join("postroom"),
        (None, Some(_)) => {
            // Builds with faults stay away from the others.
            let planted = ["--features", "stdx/planted-faults"];
            build("server", &planted, &target().join("planted-faults"))?.join("postroom")
        }
    };
    let forgetful = match &arguments.forgetful {
        Some(forgetful) => forgetful.clone(),
        None => build("forgetful", &[], &target())?.join("libforgetful.so"),
    };
    for path in [&broker, &forgetful] {
        if !path.exists() {
            return Err(BinaryError::Missing(path.clone()));
        }
    }
    Ok(Binaries { broker, forgetful })
}

/// Builds a package with the profile of this program; gives the directory that has the result.
fn build(package: &'static str, options: &[&str], target: &Path) -> Result<PathBuf, BinaryError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["build", "--quiet", "--package", package]);
    command.args(options).arg("--target-dir").arg(target);
    // What cargo told this program of itself: some build scripts look at it, and build all anew.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        command.arg("--release");
        "release"
    };
    if !command.status()?.success() {
        return Err(BinaryError::Build(package));
    }
    Ok(target.join(profile))
}
