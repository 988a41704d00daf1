//! Definitions from a file, in the format that RabbitMQ exports: read, checked as a whole, and then
//! imported, or only told what an import would do.

use std::fmt;
use std::path::{Path, PathBuf};

use broker::definitions::{Definitions, Effect, Plan};
use broker::{Broker, ImportError};
use http_api::definitions::{Fault, misfit_words, parse};

/// Faults told of one file; the rest is counted.
const FAULTS_TOLD_MAX: usize = 20;

/// Why a file's definitions are not imported. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionsError {
    #[error("{}: {error}", file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },

    #[error("{}: {error}; export it again with `rabbitmqctl export_definitions FILE`", file.display())]
    NotJson { file: PathBuf, error: serde_json::Error },

    #[error("nothing was imported{}", Listed { file, faults })]
    Faults { file: PathBuf, faults: Vec<String> },

    #[error("{}: {error}", file.display())]
    Import { file: PathBuf, error: ImportError },
}

/// The faults, one a line.
struct Listed<'a> {
    file: &'a Path,
    faults: &'a [String],
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.faults.iter().take(FAULTS_TOLD_MAX) {
            write!(f, "\n  {}: {fault}", self.file.display())?;
        }
        match self.faults.len().saturating_sub(FAULTS_TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Imports a file, and logs what that made.
pub(crate) fn import(file: &Path, broker: &Broker) -> Result<(), DefinitionsError> {
    let definitions = read(file)?;
    let done = broker.import(&definitions);
    let plan = done.map_err(|error| refused(file, &definitions, error))?;
    for (section, index, effect) in &plan.effects {
        if *effect == Effect::Differs {
            let what = definitions.describe(*section, *index);
            tracing::warn!(
                "{what} is there with other settings than in the file and stays as it is"
            );
        }
    }
    if !definitions.parameters.is_empty() {
        tracing::warn!(
            kept = definitions.parameters.len(),
            "policies and parameters of the file are kept, but do not act yet"
        );
    }
    tracing::info!(
        file = %file.display(),
        made = plan.count(Effect::Made),
        changed = plan.count(Effect::Changed),
        differing = plan.count(Effect::Differs),
        there_before = plan.count(Effect::Nothing),
        "definitions imported"
    );
    Ok(())
}

/// What importing a file would do, a line each.
pub(crate) fn preview(file: &Path, broker: &Broker) -> Result<String, DefinitionsError> {
    let definitions = read(file)?;
    let planned = broker.plan_import(&definitions);
    let plan = planned.map_err(|error| refused(file, &definitions, error))?;
    Ok(told(&definitions, &plan))
}

fn told(definitions: &Definitions, plan: &Plan) -> String {
    let mut lines = Vec::new();
    for (section, index, effect) in &plan.effects {
        let what = definitions.describe(*section, *index);
        match effect {
            Effect::Made => lines.push(format!("make    {what}")),
            Effect::Changed => lines.push(format!("change  {what}")),
            Effect::Differs => {
                lines.push(format!("leave   {what}, which is there with other settings"));
            }
            Effect::Nothing => {}
        }
    }
    lines.push(format!(
        "{} to make, {} to change, {} to leave as they are, {} there already; nothing was done",
        plan.count(Effect::Made),
        plan.count(Effect::Changed),
        plan.count(Effect::Differs),
        plan.count(Effect::Nothing),
    ));
    lines.join("\n") + "\n"
}

fn read(file: &Path) -> Result<Definitions, DefinitionsError> {
    let path = || file.to_path_buf();
    let text = std::fs::read(file)
        .map_err(|error| DefinitionsError::Unreadable { file: path(), error })?;
    let json = serde_json::from_slice(&text)
        .map_err(|error| DefinitionsError::NotJson { file: path(), error })?;
    parse(&json).map_err(|faults: Vec<Fault>| DefinitionsError::Faults {
        file: path(),
        faults: faults.iter().map(ToString::to_string).collect(),
    })
}

fn refused(file: &Path, definitions: &Definitions, error: ImportError) -> DefinitionsError {
    let file = file.to_path_buf();
    match error {
        ImportError::Misfits(misfits) => {
            let faults = misfits.iter().map(|misfit| misfit_words(definitions, misfit)).collect();
            DefinitionsError::Faults { file, faults }
        }
        error @ (ImportError::Vhost(_) | ImportError::Unwritten(_)) => {
            DefinitionsError::Import { file, error }
        }
    }
}
