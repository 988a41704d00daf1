//! After a restart: which of the possible outcomes is what is found?

use storage::disk::SimulatedDisk;

use crate::checker::snapshot::{Found, Snapshot};
use crate::checker::topology::Binding;
use crate::inspect::{has_binding, inspect};
use crate::message::Messages;
use crate::process::Setup;
use crate::violation::{Violation, broken};
use crate::vocabulary::names;

/// A disk, and what may be on it.
pub(crate) struct Restart<'a> {
    pub(crate) disk: &'a SimulatedDisk,
    pub(crate) setup: &'a Setup,
    pub(crate) messages: &'a Messages,
    /// The likeliest first.
    pub(crate) outcomes: &'a [Snapshot],
}

/// What the next life starts from, and a word about it.
pub(crate) fn restart(restart: &Restart<'_>) -> Result<(Snapshot, String), Violation> {
    // Looking changes the disk; the next life gets what nobody looked at.
    let copy = || SimulatedDisk::with_files(restart.disk.files());
    let Restart { setup, messages, outcomes, .. } = restart;
    let found = inspect(&copy(), setup, &names(), messages, outcomes)?;
    let mut possible = Vec::new();
    let mut differences = Vec::new();
    for outcome in *outcomes {
        match outcome.explains(&found, setup.began_ms) {
            Ok(()) => possible.push(outcome),
            Err(difference) => differences.push(difference),
        }
    }
    for binding in differing_bindings(&possible) {
        let all: Vec<Binding> =
            possible.iter().flat_map(|outcome| outcome.topology.bindings.clone()).collect();
        let Some(there) = has_binding(&copy(), setup, &binding, &all)? else { continue };
        possible.retain(|outcome| outcome.topology.bindings.contains(&binding) == there);
        if possible.is_empty() {
            differences.insert(0, format!("{binding:?}, there: {there}"));
        }
    }
    let Some(outcome) = possible.first() else {
        differences.truncate(3);
        return broken!(
            Recovers,
            "none of {} possible outcomes was found, because: {}",
            outcomes.len(),
            differences.join("; or ")
        );
    };
    Ok((Snapshot { clean: false, ..outcome.with(&found, setup.began_ms) }, summary(&found)))
}

/// Bindings that some of the outcomes have and some have not.
fn differing_bindings(outcomes: &[&Snapshot]) -> Vec<Binding> {
    let mut differing: Vec<Binding> = Vec::new();
    for outcome in outcomes {
        for binding in &outcome.topology.bindings {
            let everywhere = outcomes.iter().all(|other| other.topology.bindings.contains(binding));
            if !everywhere && !differing.contains(binding) {
                differing.push(binding.clone());
            }
        }
    }
    differing
}

fn summary(found: &Found) -> String {
    let queues: Vec<String> = (found.queues.iter())
        .map(|(name, queue)| format!("{name}: {:?}", queue.messages))
        .collect();
    format!("exchanges {:?}, queues {}", found.exchanges.keys(), queues.join(", "))
}
