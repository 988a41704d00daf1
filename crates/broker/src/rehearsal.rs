//! A recovery that is only tried: everything is read and understood as at a start, and nothing is
//! written. What it tells is what a start would find.

use std::sync::Arc;

use domain::name::Name;
use stdx::clock::Clock;
use storage::JournalSettings;

use crate::broker::{OpenError, Recovered};
use crate::catalogue::read_register;
use crate::disks::Disks;
use crate::recover::Recovery;
use crate::vhost::timers::Moment;

/// Reads the catalogue and every virtual host in it. Segments are opened and not read: a damaged
/// message in one is found when it is delivered.
pub fn rehearse(disks: &dyn Disks, clock: &dyn Clock) -> Result<Vec<Recovered>, OpenError> {
    let unusable = |what: &str| {
        let what = what.into();
        move |error| OpenError::Disk { what, error }
    };
    let disk = disks.catalogue().map_err(unusable("the catalogue"))?;
    let register = read_register(disk, settings())?;
    let now = Moment::now(clock);
    register.vhosts.into_iter().map(|name| rehearse_vhost(disks, name, now)).collect()
}

fn rehearse_vhost(disks: &dyn Disks, name: Name, now: Moment) -> Result<Recovered, OpenError> {
    let disk = disks
        .vhost(&name)
        .map_err(|error| OpenError::Disk { what: format!("vhost '{name}'").into(), error })?;
    let mut recovery = Recovery::new(now);
    let opened = storage::open::<()>(Arc::clone(&disk), settings(), &mut |record| {
        recovery.record(&record);
    });
    let opened = opened.map_err(|error| OpenError::Journal { vhost: name.clone(), error })?;
    let after_loss = recovery.after_loss();
    let restored =
        recovery.finish(&disk).map_err(|error| OpenError::Replay { vhost: name.clone(), error })?;
    Ok(Recovered {
        vhost: name,
        queues: restored.queues.len(),
        messages: restored.queues.iter().map(|(_, slot)| slot.queue.ready_messages()).sum(),
        summary: opened.summary,
        after_loss,
    })
}

/// Nothing is written, so nothing has to be drawn.
fn settings() -> JournalSettings {
    JournalSettings::new(Box::new(|| 0))
}
