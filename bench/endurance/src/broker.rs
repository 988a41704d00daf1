//! The broker as a process: started on a directory and a port that stay, ended in two ways.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::args::Place;
use crate::failure::Failure;
use crate::load::{Load, Outcome};
use crate::proc::Sight;
use crate::watch::Watch;

/// A stop may have to write down a lot.
const STOP_LONGEST: Duration = Duration::from_mins(2);

/// A directory for one broker after the other.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
    binary: PathBuf,
    load: PathBuf,
    serve: Vec<String>,
    port: u16,
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker<'a> {
    site: &'a Site,
    child: Child,
    started: Instant,
}

impl Site {
    pub(crate) fn new(place: &Place, binary: &Path) -> Result<Site, Failure> {
        let folder = match &place.dir {
            Some(dir) => tempfile::tempdir_in(dir).map_err(Failure::file(dir))?,
            None => tempfile::tempdir().map_err(Failure::file(&std::env::temp_dir()))?,
        };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        Ok(Site {
            folder,
            binary: binary.to_path_buf(),
            load: place.load.clone(),
            serve: place.serve.clone(),
            port: port.map_err(Failure::Port)?.port(),
        })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Lines of the log that are warnings or worse.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        log.lines().filter(loud).map(str::to_owned).collect()
    }

    /// Starts a broker; it may not serve yet.
    pub(crate) fn start(&self) -> Result<Broker<'_>, Failure> {
        let log_path = self.log();
        let log = File::options().create(true).append(true).open(&log_path);
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data-dir").arg(self.data());
        command.arg("--amqp-port").arg(self.port.to_string()).args(["--http-port", "0"]);
        command.args(&self.serve);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.map_err(Failure::file(&log_path))?);
        let started = Instant::now();
        let child = command.spawn().map_err(Failure::file(&self.binary))?;
        Ok(Broker { site: self, child, started })
    }
}

impl Broker<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn sight(&self) -> Result<Sight, Failure> {
        Sight::of(self.pid(), &self.site.data())
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch::start(self.pid(), &self.site.data())
    }

    /// Lets the load generator work on it.
    pub(crate) fn load(&self, load: &Load) -> Result<Outcome, Failure> {
        load.run(&self.site.load, self.site.port)
    }

    /// Waits until it serves a client; the seconds since its start, and how many messages it says
    /// are in the queues.
    pub(crate) fn wait(&self, queues: u64) -> Result<(f64, u64), Failure> {
        let outcome =
            self.load(&Load::new("counts").with("queues", queues).with("timeout", 600))?;
        let seconds = self.started.elapsed().as_secs_f64();
        match outcome.0.get("messages").and_then(Value::as_u64) {
            Some(messages) => Ok((seconds, messages)),
            None => Err(Failure::NoAnswer(outcome.0.to_string())),
        }
    }

    /// SIGTERM; how many seconds it took to end.
    pub(crate) fn stop(mut self) -> Result<f64, Failure> {
        let told = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(Failure::Signal)?;
        while told.elapsed() < STOP_LONGEST {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Ok(told.elapsed().as_secs_f64());
            }
            sleep(Duration::from_millis(2));
        }
        Err(Failure::SlowStop(STOP_LONGEST.as_secs()))
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Broker<'_> {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
