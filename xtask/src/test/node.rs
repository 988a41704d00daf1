//! Node clients against the binary. Each folder keeps its packages in its own `node_modules`.

use std::fs;

use super::{Form, Outcome};
use crate::checkout;
use crate::command::{program, succeed};
use crate::failure::Failure;

pub(super) fn conformance(_form: Form) -> Result<Outcome, Failure> {
    test("conformance/node")
}

pub(super) fn examples(_form: Form) -> Result<Outcome, Failure> {
    test("examples/node")
}

fn test(folder: &str) -> Result<Outcome, Failure> {
    install(folder)?;
    succeed(program("npm", ["test", "--silent"]).current_dir(checkout::root().join(folder)))?;
    Ok(Outcome::Passed)
}

/// Installs what the lock file names, unless that is what was installed last.
fn install(folder: &str) -> Result<(), Failure> {
    let folder = checkout::root().join(folder);
    let lock = folder.join("package-lock.json");
    let required = fs::read_to_string(&lock)
        .map_err(|error| Failure::new(format!("{}: {error}", lock.display())))?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(());
    }
    succeed(program("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    fs::write(&stamp, required)
        .map_err(|error| Failure::new(format!("{}: {error}", stamp.display())))
}
