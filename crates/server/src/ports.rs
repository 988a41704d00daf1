//! `ports.json` in the data directory: where a running broker listens, for scripts that let it
//! choose its port. It is there exactly while the broker takes connections.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "ports.json";

/// The port of each protocol that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) amqp: u16,
    pub(crate) amqps: Option<u16>,
    pub(crate) http: u16,
    pub(crate) https: Option<u16>,
}

/// The file while it is there; goes with this value.
#[derive(Debug)]
pub(crate) struct PortsFile(PathBuf);

impl PortsFile {
    /// Removes what an earlier broker may have left behind, so that nobody believes it.
    pub(crate) fn remove_stale(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(data_dir.join(FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes it whole: a reader sees all of it or none.
    pub(crate) fn write(data_dir: &Path, ports: Ports) -> io::Result<PortsFile> {
        let path = data_dir.join(FILE_NAME);
        let unfinished = data_dir.join(format!("{FILE_NAME}.new"));
        let json = serde_json::json!({
            "amqp": ports.amqp,
            "amqps": ports.amqps,
            "http": ports.http,
            "https": ports.https,
        });
        fs::write(&unfinished, format!("{json}\n"))?;
        fs::rename(&unfinished, &path)?;
        Ok(PortsFile(path))
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), %error, "could not be removed");
        }
    }
}
