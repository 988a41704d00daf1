//! The broker as a process: started, waited for, ended.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::binaries::Binaries;
use crate::disk::Disk;

const START_LONGEST: Duration = Duration::from_mins(1);
const STOP_LONGEST: Duration = Duration::from_secs(10);

/// Where a run keeps its things.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) work: PathBuf,
}

impl Places {
    pub(crate) fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// What the last restart began with, for whoever looks into a failure.
    pub(crate) fn before_restart(&self) -> PathBuf {
        self.work.join("data.before-restart")
    }

    /// What the broker imports at each start.
    pub(crate) fn definitions(&self) -> PathBuf {
        self.work.join("definitions.json")
    }

    pub(crate) fn undo_log(&self) -> PathBuf {
        self.work.join("undo.log")
    }

    /// What the disk is to do, where the preloaded library plays it.
    pub(crate) fn disk_control(&self) -> PathBuf {
        self.work.join("disk")
    }

    pub(crate) fn broker_log(&self) -> PathBuf {
        self.work.join("broker.log")
    }
}

/// So little memory and so short journal files that messages move to segments, segments are written
/// anew and files go many times in a round.
const NARROW: [&str; 4] = ["--memory-bytes-max", "8388608", "--journal-file-bytes", "2097152"];

/// What is to be left of a small disk, so that it need not be large.
const SMALL_DISK: [&str; 2] = ["--disk-free-min-bytes", "8388608"];

/// How to start the broker.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) binaries: Binaries,
    pub(crate) places: Places,
    pub(crate) sync: String,
    pub(crate) planted_fault: Option<String>,
    /// Set if un-synced writes are to be written down.
    pub(crate) sync_delay_us: Option<u64>,
    /// The disk that is played, if one is.
    pub(crate) disk: Option<Disk>,
    /// What is held back of it.
    pub(crate) reserve_bytes: u64,
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    pub(crate) started_in: Duration,
}

/// The broker does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker ended while starting ({status}); its last words:\n{words}")]
    Ended { status: String, words: String },
    #[error("the broker did not start within {} s; its last words:\n{words}", START_LONGEST.as_secs())]
    SlowStart { words: String },
    #[error("SIGTERM: the broker did not stop within {} s", STOP_LONGEST.as_secs())]
    SlowStop,
    #[error("SIGTERM: the broker ended with {status}; its last words:\n{words}")]
    BadStop { status: String, words: String },
}

impl Recipe {
    /// Starts the process and does not wait until it serves.
    pub(crate) fn spawn(&self) -> Result<Child, ProcessError> {
        let data = self.places.data();
        let log = File::options().create(true).append(true).open(self.places.broker_log())?;
        // The file of the life before would be taken for this one's.
        if let Err(error) = fs::remove_file(data.join("ports.json"))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let mut command = Command::new(&self.binaries.broker);
        command.args(["serve", "--bind", "127.0.0.1", "--amqp-port", "0", "--http-port", "0"]);
        command.args(["--sync", &self.sync]).arg("--data-dir").arg(&data);
        command.args(NARROW);
        command.arg("--definitions").arg(self.places.definitions());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        if let Some(fault) = &self.planted_fault {
            command.env("POSTROOM_PLANTED_FAULT", fault);
        }
        if self.sync_delay_us.is_some() || self.disk.is_some() {
            command.env("LD_PRELOAD", &self.binaries.forgetful);
            command.env("FORGETFUL_DIR", &data).env("FORGETFUL_LOG", self.places.undo_log());
        }
        if let Some(delay) = self.sync_delay_us {
            command.env("FORGETFUL_SYNC_DELAY_US", delay.to_string());
        }
        if let Some(disk) = &self.disk {
            command.env("FORGETFUL_DISK", &disk.control).args(SMALL_DISK);
            command.args(["--disk-reserve-bytes", &self.reserve_bytes.to_string()]);
        }
        Ok(command.spawn()?)
    }

    /// Starts the broker and waits until it serves.
    pub(crate) async fn start(&self) -> Result<Broker, ProcessError> {
        let started = Instant::now();
        let mut child = self.spawn()?;
        loop {
            if let Some(port) = amqp_port(&self.places.data()) {
                return Ok(Broker { child, port, started_in: started.elapsed() });
            }
            if let Some(status) = child.try_wait()? {
                let words = self.last_words();
                return Err(ProcessError::Ended { status: status.to_string(), words });
            }
            if started.elapsed() > START_LONGEST {
                kill(&mut child).await?;
                return Err(ProcessError::SlowStart { words: self.last_words() });
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Asks the broker to stop, as a service supervisor does.
    pub(crate) async fn stop(&self, mut broker: Broker) -> Result<(), ProcessError> {
        let pid = broker.child.id().map(|id| id.to_string()).unwrap_or_default();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        let Ok(status) = timeout(STOP_LONGEST, broker.child.wait()).await else {
            kill(&mut broker.child).await?;
            return Err(ProcessError::SlowStop);
        };
        let status = status?;
        if status.success() {
            return Ok(());
        }
        Err(ProcessError::BadStop { status: status.to_string(), words: self.last_words() })
    }

    /// How many lines of the broker's log, in all its lives, have this in them.
    pub(crate) fn log_lines_with(&self, words: &str) -> usize {
        let log = fs::read(self.places.broker_log()).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(words)).count()
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.places.broker_log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().flat_map(|line| ["    ", line, "\n"]).collect()
    }
}

impl Broker {
    /// Kill -9, and waits until the process is gone. Fails if it had ended by itself.
    pub(crate) async fn kill(mut self, command: &Recipe) -> Result<(), ProcessError> {
        if let Some(status) = self.child.try_wait()? {
            let words = command.last_words();
            return Err(ProcessError::Ended { status: status.to_string(), words });
        }
        kill(&mut self.child).await
    }
}

pub(crate) async fn kill(child: &mut Child) -> Result<(), ProcessError> {
    Ok(child.kill().await?)
}

fn amqp_port(data: &Path) -> Option<u16> {
    let text = fs::read(data.join("ports.json")).ok()?;
    let ports: serde_json::Value = serde_json::from_slice(&text).ok()?;
    u16::try_from(ports.get("amqp")?.as_u64()?).ok()
}
