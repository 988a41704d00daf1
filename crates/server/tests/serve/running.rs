//! A broker process of this build, started for one test and gone after it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Patience for what takes milliseconds on a quiet machine.
const SOON: Duration = Duration::from_secs(20);

/// `postroom` with nothing of this process's environment that could be a setting.
pub(crate) fn postroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postroom"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTROOM_") {
            command.env_remove(name);
        }
    }
    command
}

/// What `postroom` says and how it ends, when it is expected to end by itself.
pub(crate) fn output(arguments: &[&str]) -> Output {
    postroom().args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub(crate) struct Running {
    child: Child,
    data_dir: PathBuf,
}

impl Running {
    /// Starts a broker on a free port and waits until it takes connections.
    pub(crate) fn start(data_dir: &TempDir, more: &[&str]) -> Running {
        let child = postroom()
            .args(["serve", "--amqp-port", "0", "--http-port", "0", "--data-dir"])
            .arg(data_dir.path())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let running = Running { child, data_dir: data_dir.path().to_path_buf() };
        // What an earlier broker left behind is gone once this one has the directory.
        wait_for("the process id in the lock file", || {
            let holder = std::fs::read_to_string(running.data_dir.join("lock")).ok()?;
            (holder.trim() == running.child.id().to_string()).then_some(())
        });
        wait_for("ports.json", || running.ports_json());
        running
    }

    pub(crate) fn ports_path(&self) -> PathBuf {
        self.data_dir.join("ports.json")
    }

    pub(crate) fn ports_json(&self) -> Option<String> {
        std::fs::read_to_string(self.ports_path()).ok()
    }

    pub(crate) fn port(&self) -> u16 {
        let ports: serde_json::Value = serde_json::from_str(&self.ports_json().unwrap()).unwrap();
        ports["amqp"].as_u64().unwrap().try_into().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; how it ended, and what stood on standard output and error.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        let status = wait_for("the end of the process", || self.child.try_wait().unwrap());
        let mut text = [String::new(), String::new()];
        self.child.stdout.take().unwrap().read_to_string(&mut text[0]).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text[1]).unwrap();
        let [out, err] = text;
        (status, out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < SOON, "no {what} after {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The top of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
