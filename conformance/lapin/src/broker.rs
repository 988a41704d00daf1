//! The broker under test: a process with a directory of its own, or the one `CONFORMANCE_URL` names.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
const LOG_BYTES_SHOWN: usize = 8_000;

/// Why there is no broker to test.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// Neither named nor built.
    #[error(
        "no broker to test: build it with `cargo build --release`, or set POSTROOM_BINARY or \
         CONFORMANCE_URL (looked for {0:?})"
    )]
    NoBinary(Vec<PathBuf>),
    /// The process could not be started.
    #[error("{binary:?} does not start: {source}")]
    Spawn {
        /// What was to be run.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process ended before it listened.
    #[error("the broker ended while starting, with {status}:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        log: String,
    },
    /// The process runs and doesn't tell its port.
    #[error("no {file:?} after {START_MAX:?}:\n{log}")]
    Silent {
        /// Where the port should have been.
        file: PathBuf,
        /// The end of what it printed.
        log: String,
    },
    /// The directory for the test could not be used.
    #[error(transparent)]
    Directory(#[from] io::Error),
}

/// A SIGTERM that was not answered by a clean end.
#[derive(Debug, thiserror::Error)]
pub enum StopFailure {
    /// It ended, and not with exit code 0.
    #[error("the broker stopped with {status}:\n{log}")]
    Unclean {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        log: String,
    },
    /// It is still there.
    #[error("the broker still ran {STOP_MAX:?} after SIGTERM:\n{log}")]
    Late {
        /// The end of what it printed.
        log: String,
    },
    /// The process could not be asked.
    #[error(transparent)]
    Process(#[from] io::Error),
}

/// A broker to connect to. Dropped, it is killed and leaves nothing behind.
#[derive(Debug)]
pub struct Broker {
    url: String,
    own: Option<OwnProcess>,
}

impl Broker {
    /// A fresh broker, or the one that `CONFORMANCE_URL` names.
    pub fn start() -> Result<Self, StartFailure> {
        match env::var("CONFORMANCE_URL") {
            Ok(url) => Ok(Self { url, own: None }),
            Err(_) => Self::start_process(),
        }
    }

    /// A fresh broker that may be killed; none when the tests run against a borrowed one.
    pub fn start_own() -> Result<Option<Self>, StartFailure> {
        if env::var_os("CONFORMANCE_URL").is_some() {
            eprintln!("skipped: the broker of CONFORMANCE_URL is not ours to stop");
            return Ok(None);
        }
        Self::start_process().map(Some)
    }

    fn start_process() -> Result<Self, StartFailure> {
        let directory = unique_directory()?;
        let (child, port) = launch(&directory, 0).inspect_err(|_failure| {
            drop(fs::remove_dir_all(&directory));
        })?;
        let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
        Ok(Self { url, own: Some(OwnProcess { child, directory, port }) })
    }

    /// Where clients connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`, and up again on the same port and directory. A borrowed broker stays as it is.
    pub fn kill_and_start_again(&mut self) -> Result<(), StartFailure> {
        let Some(own) = &mut self.own else { return Ok(()) };
        own.child.kill()?;
        own.child.wait()?;
        own.launch_again()
    }

    /// SIGTERM, and up again on the same port and directory. A borrowed broker stays as it is.
    pub fn stop_and_start_again(&mut self) -> crate::Outcome {
        let Some(own) = &mut self.own else { return Ok(()) };
        own.stop()?;
        own.launch_again()?;
        Ok(())
    }

    /// SIGTERM at the end of a test: the broker must still be there and end cleanly.
    pub fn stop(mut self) -> Result<(), StopFailure> {
        self.own.as_mut().map_or(Ok(()), OwnProcess::stop)
    }

    /// Memory the process holds; `None` for a borrowed broker or where the system doesn't tell.
    pub fn resident_bytes(&self) -> Option<u64> {
        let own = self.own.as_ref()?;
        let status = fs::read_to_string(format!("/proc/{}/status", own.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    }
}

#[derive(Debug)]
struct OwnProcess {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl OwnProcess {
    fn launch_again(&mut self) -> Result<(), StartFailure> {
        (self.child, self.port) = launch(&self.directory, self.port)?;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), StopFailure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(io::Error::from)?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(StopFailure::Unclean { status, log: end_of_log(&self.directory) });
                }
                None => thread::sleep(POLL),
            }
        }
        Err(StopFailure::Late { log: end_of_log(&self.directory) })
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        // Already gone after `stop`; nothing more can be done about a failure here.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the broker printed:\n{}", end_of_log(&self.directory));
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Starts the binary with its data in `directory` and waits until it listens; port 0 is any.
fn launch(directory: &Path, port: u16) -> Result<(Child, u16), StartFailure> {
    let data_directory = directory.join("data");
    let ports_file = data_directory.join("ports.json");
    if ports_file.exists() {
        fs::remove_file(&ports_file)?;
    }
    let binary = find_binary()?;
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    let mut child = Command::new(&binary)
        .arg("serve")
        .arg("--data-dir")
        .arg(&data_directory)
        .args(["--bind", "127.0.0.1", "--http-port", "0"])
        .args(["--amqp-port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|source| StartFailure::Spawn { binary, source })?;

    let deadline = Instant::now() + START_MAX;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Err(StartFailure::Ended { status, log: end_of_log(directory) });
        }
        if let Some(port) = amqp_port(&ports_file) {
            return Ok((child, port));
        }
        thread::sleep(POLL);
    }
    drop(child.kill());
    drop(child.wait());
    Err(StartFailure::Silent { file: ports_file, log: end_of_log(directory) })
}

/// The port in `ports.json`; none while the file is missing or half written.
fn amqp_port(ports_file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(ports_file).ok()?).ok()?;
    u16::try_from(ports["amqp"].as_u64()?).ok()
}

fn find_binary() -> Result<PathBuf, StartFailure> {
    let candidates = env::var_os("POSTROOM_BINARY").map_or_else(built, |named| vec![named.into()]);
    match candidates.iter().find(|candidate| candidate.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(StartFailure::NoBinary(candidates)),
    }
}

/// Where a build leaves the binary.
fn built() -> Vec<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    vec![target.join("release/postroom"), target.join("debug/postroom")]
}

fn unique_directory() -> io::Result<PathBuf> {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("postroom-lapin-{}-{number}", std::process::id());
    let directory = env::temp_dir().join(name);
    // A former process of the same id may have been killed before it could clean up.
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn end_of_log(directory: &Path) -> String {
    let log = fs::read(directory.join("log")).unwrap_or_default();
    let from = log.len().saturating_sub(LOG_BYTES_SHOWN);
    String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned()
}
