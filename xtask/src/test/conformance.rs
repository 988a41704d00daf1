//! Real clients against the binary, and the table of what they must have shown. What the clients
//! need is installed here from the package registries: Python's into `conformance/.venv`, Node's
//! into `node_modules` beside each lock file. Only amqp-tools and promtool come from the system,
//! where it lets us.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Form, Outcome};
use crate::checkout;
use crate::command::{cargo, program, succeed, succeed_and_keep};
use crate::failure::Failure;

/// Where the runs leave what `check_table.py` reads.
const REPORTS: &str = "target/conformance";

const REQUIREMENTS: &str = "conformance/python/requirements.txt";

pub(super) fn python(_form: Form) -> Result<Outcome, Failure> {
    make_reports_folder()?;
    if !has_amqp_tools() {
        println!(
            "no amqp-tools here and none to be had from apt-get without a password: \
             conformance/python/test_tools.py skips itself"
        );
    }
    if !has_promtool() {
        println!(
            "no promtool here and none to be had from apt-get: some of \
             conformance/python/test_metrics_use.py skips itself"
        );
    }
    let report = format!("--junitxml={REPORTS}/python.xml");
    succeed(&mut program(
        python_packages()?,
        // They wait more than they work, so there are more at once than there are cores.
        ["-m", "pytest", "-q", "-n", "3", "--dist", "loadfile", &report, "conformance/python"],
    ))?;
    Ok(Outcome::Passed)
}

pub(super) fn node(_form: Form) -> Result<Outcome, Failure> {
    make_reports_folder()?;
    for folder in ["examples/node", "conformance/node"] {
        install_node_packages(folder)?;
    }
    let report = checkout::root().join(REPORTS).join("node.xml");
    let to_report = format!("--test-reporter-destination={}", report.display());
    succeed(
        program("node", ["--test", "--test-timeout=60000", "--test-concurrency=2"])
            .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
            .args(["--test-reporter=junit", &to_report])
            .current_dir(checkout::root().join("conformance/node")),
    )?;
    Ok(Outcome::Passed)
}

pub(super) fn lapin(_form: Form) -> Result<Outcome, Failure> {
    make_reports_folder()?;
    let report = checkout::root().join(REPORTS).join("lapin.txt");
    let mut command =
        cargo(["test", "--package", "conformance-lapin", "--features", "live", "--no-fail-fast"]);
    succeed_and_keep(&mut command, &report)?;
    Ok(Outcome::Passed)
}

/// Fails when a line of the table has no test, or names one that did not pass.
pub(super) fn table(_form: Form) -> Result<Outcome, Failure> {
    let report = |name: &str| format!("{REPORTS}/{name}");
    succeed(
        program(python_packages()?, ["conformance/check_table.py"])
            .args(["--python", &report("python.xml")])
            .args(["--node", &report("node.xml")])
            .args(["--lapin", &report("lapin.txt")]),
    )?;
    Ok(Outcome::Passed)
}

fn make_reports_folder() -> Result<(), Failure> {
    fs::create_dir_all(checkout::root().join(REPORTS))
        .map_err(|error| Failure::new(format!("{REPORTS}: {error}")))
}

/// Whether Debian's amqp-tools are there, if need be after installing them, which takes root.
fn has_amqp_tools() -> bool {
    let install = ["apt-get", "install", "--yes", "--quiet", "amqp-tools"];
    let there = || runs(&mut program("amqp-publish", ["--help"]));
    there()
        || (runs(&mut program("env", install))
            || runs(program("sudo", ["--non-interactive"]).args(install)))
            && there()
}

/// Whether Prometheus' own checker is there, if need be after taking it out of Debian's package:
/// installing that would start a Prometheus.
fn has_promtool() -> bool {
    let tools = checkout::root().join("target/tools");
    let own = tools.join("bin/promtool");
    let there = || runs(&mut program(&own, ["--version"]));
    if there() || runs(&mut program("promtool", ["--version"])) {
        return true;
    }
    let take = "folder=$(mktemp -d) && trap 'rm -rf \"$folder\"' EXIT && cd \"$folder\" && \
                { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } && \
                dpkg-deb --extract prometheus_*.deb . && install -D usr/bin/promtool \"$0\"";
    runs(program("sh", ["-c", take]).arg(&own)) && there()
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The virtual environment's Python, with everything that is required. Installing is skipped when
/// the requirements are the ones installed last.
fn python_packages() -> Result<PathBuf, Failure> {
    let venv = checkout::root().join("conformance/.venv");
    let python = venv.join("bin/python");
    let required = read(&checkout::root().join(REQUIREMENTS))?;
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(python);
    }
    succeed(&mut program("python3", ["-m", "venv", "--clear", "conformance/.venv"]))?;
    succeed(
        program(&python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["-r", REQUIREMENTS]),
    )?;
    write(&stamp, &required)?;
    Ok(python)
}

/// Installs what the folder's lock file names, unless that is what was installed last.
fn install_node_packages(folder: &str) -> Result<(), Failure> {
    let folder = checkout::root().join(folder);
    let required = read(&folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(());
    }
    succeed(program("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    write(&stamp, &required)
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
