//! Virtual hosts: made, noted, deleted. One that is deleted is gone as soon as the catalogue says so;
//! its files follow, if not now then at the next start.

use std::sync::{Arc, PoisonError};

use domain::name::Name;

use crate::accounts::Put;
use crate::broker::{Broker, OpenError, open_vhost};
use crate::catalogue::Unwritten;
use crate::register::Change;
use crate::vhost_notes::VhostNotes;

/// Why a virtual host can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateVhostError {
    /// A virtual host needs a name.
    #[error("a vhost's name can't be empty")]
    NoName,
    /// Its journal can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// Why a virtual host is not deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteVhostError {
    /// There is none of that name.
    #[error("there is no vhost '{0}'")]
    NoSuchVhost(Name),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// A virtual host as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct VhostView {
    pub name: Name,
    pub notes: VhostNotes,
}

impl Broker {
    /// All virtual hosts, by name.
    pub fn vhosts(&self) -> Vec<VhostView> {
        let register = self.catalogue.read();
        let view = |name: &Name| {
            let notes = register.notes.get(name).cloned().unwrap_or_default();
            VhostView { name: name.clone(), notes }
        };
        register.vhosts.iter().map(view).collect()
    }

    /// The virtual host of that name.
    pub fn vhost(&self, name: &str) -> Option<VhostView> {
        let register = self.catalogue.read();
        let name = register.vhosts.get(name)?.clone();
        let notes = register.notes.get(&name).cloned().unwrap_or_default();
        Some(VhostView { name, notes })
    }

    /// Makes a virtual host, unless it is there. Waits for the disk.
    pub fn create_vhost(&self, name: &Name) -> Result<Put, CreateVhostError> {
        if name.is_empty() {
            return Err(CreateVhostError::NoName);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hub(name.as_str()).is_some() {
            return Ok(Put::Changed);
        }
        if self.catalogue.read().doomed.contains(name) {
            // What is left of one that had its name must not become its own.
            let what = || format!("vhost '{name}'").into();
            let erased = self.settings.disks.erase_vhost(name);
            erased.map_err(|error| OpenError::Disk { what: what(), error })?;
        }
        let (host, _) = open_vhost(name, &self.settings, &self.share, &self.alarms)?;
        if let Some(sink) = self.spans.get() {
            host.hub.trace_to(sink);
        }
        self.catalogue.change(&[Change::Vhost(name.clone())])?;
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(name.clone(), Arc::new(host));
        Ok(Put::Made)
    }

    /// Notes something on a virtual host. Waits for the disk.
    pub fn note_vhost(&self, name: &Name, notes: &VhostNotes) -> Result<(), DeleteVhostError> {
        self.catalogue.decide(|register| {
            if !register.vhosts.contains(name) {
                return Err(DeleteVhostError::NoSuchVhost(name.clone()));
            }
            if register.notes.get(name).unwrap_or(&VhostNotes::default()) == notes {
                return Ok(Vec::new());
            }
            Ok(vec![Change::VhostNotes(name.clone(), notes.clone())])
        })
    }

    /// Deletes a virtual host with everything in it; its connections are closed. Waits for the disk.
    pub fn delete_vhost(&self, name: &Name) -> Result<(), DeleteVhostError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on it is gone: a start after a crash does not open it.
        self.catalogue.decide(|register| {
            if !register.vhosts.contains(name) {
                return Err(DeleteVhostError::NoSuchVhost(name.clone()));
            }
            Ok(vec![Change::VhostDeleted(name.clone())])
        })?;
        let host = self.hosts.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(host) = host {
            host.hub.dissolve();
            // Its journal is of no interest any more, only that nobody writes it.
            _ = host.driven.finish(&host.hub, self.settings.clock.monotonic());
        }
        tracing::info!(vhost = %name, "vhost deleted");
        self.erase_vhost(name);
        Ok(())
    }

    /// Deletes the files of virtual hosts that a crash kept from going.
    pub(crate) fn erase_doomed(&self) {
        let doomed: Vec<Name> = self.catalogue.read().doomed.iter().cloned().collect();
        for name in doomed {
            self.erase_vhost(&name);
        }
    }

    fn erase_vhost(&self, name: &Name) {
        if let Err(error) = self.settings.disks.erase_vhost(name) {
            tracing::warn!(
                vhost = %name, %error,
                "the files of a deleted vhost can't be removed; the next start tries again"
            );
            return;
        }
        // If this is not written, the next start erases what is not there.
        if let Err(error) = self.catalogue.change(&[Change::VhostErased(name.clone())]) {
            tracing::warn!(vhost = %name, %error, "the catalogue can't be written");
        }
    }
}
