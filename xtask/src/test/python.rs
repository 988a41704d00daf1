//! Python clients against the binary. Their packages go into `conformance/.venv`.

use std::fs;
use std::path::PathBuf;

use super::{Form, Outcome};
use crate::checkout;
use crate::command::{program, succeed};
use crate::failure::Failure;

const REQUIREMENTS: &str = "conformance/python/requirements.txt";

pub(super) fn conformance(_form: Form) -> Result<Outcome, Failure> {
    let python = installed()?;
    succeed(&mut program(python, ["-m", "pytest", "-q", "conformance/python"]))?;
    Ok(Outcome::Passed)
}

pub(super) fn examples(_form: Form) -> Result<Outcome, Failure> {
    let python = installed()?;
    succeed(&mut program(python, ["-m", "pytest", "-q", "examples/python"]))?;
    Ok(Outcome::Passed)
}

/// The virtual environment's Python, with everything that is required. Installing is skipped when
/// the requirements are the ones installed last.
fn installed() -> Result<PathBuf, Failure> {
    let venv = checkout::root().join("conformance/.venv");
    let python = venv.join("bin/python");
    let required = fs::read_to_string(checkout::root().join(REQUIREMENTS))
        .map_err(|error| Failure::new(format!("{REQUIREMENTS}: {error}")))?;
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(python);
    }
    succeed(&mut program("python3", ["-m", "venv", "--clear", "conformance/.venv"]))?;
    succeed(&mut program(
        &python,
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
    ))?;
    fs::write(&stamp, required)
        .map_err(|error| Failure::new(format!("{}: {error}", stamp.display())))?;
    Ok(python)
}
