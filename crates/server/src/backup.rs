//! `postroom backup`: a copy of a data directory that starts, while the broker goes on with it.
//!
//! Virtual hosts first, the catalogue last: what happens in a virtual host rests on the users and
//! policies that were there before, so the copy must not have a queue from before and a policy from
//! even earlier. A virtual host's folder is older than its line in the catalogue; one that was made
//! meanwhile is found by looking for folders once more after the catalogue was copied.
//!
//! Each virtual host is copied as it stood at some moment after the start, and not all at the same:
//! they know nothing of each other. The copy is then read as a start would read it. Only when that
//! has gone well, it gets its name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{Recovered, rehearse};
use stdx::clock::SystemClock;
use storage::{BackedUp, BackupError, back_up};

use crate::folders::{CATALOGUE, Folders, VHOSTS};
use crate::reserve::Reserve;

/// How often it is tried while the broker is too quick.
const ATTEMPTS_MAX: u32 = 10;

/// What to copy, and to where.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArguments {
    /// The data directory; a broker may be running on it
    #[arg(
        long,
        value_name = "DIR",
        env = "POSTROOM_DATA_DIR",
        hide_env_values = true,
        default_value = "./postroom-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// The directory to make: the data directory of a broker that starts where this one was
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupFailure {
    #[error(
        "{} is no data directory: it has no {CATALOGUE}; name the right one with --data-dir",
        .0.display()
    )]
    NothingThere(PathBuf),

    #[error("{} exists already; name a directory with --to that does not", .0.display())]
    Exists(PathBuf),

    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },

    #[error("{0}")]
    Copy(#[from] BackupError),

    #[error(
        "the copy can't be read back, after {ATTEMPTS_MAX} attempts: {0}. If the broker is stopped, \
         or starts from its own directory without a complaint, please report this"
    )]
    Unreadable(broker::OpenError),
}

/// What was copied.
#[derive(Debug)]
struct Summary {
    to: PathBuf,
    done: BackedUp,
    vhosts: Vec<Recovered>,
    attempts: u32,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { to, done, vhosts, attempts } = self;
        let mib = done.journal_bytes >> 20;
        let (linked, copied) = (done.segments_linked, done.segments_copied);
        writeln!(
            f,
            "{}: {mib} MiB of journals, {linked} segments linked and {copied} copied, read back",
            to.display()
        )?;
        if *attempts > 1 {
            writeln!(f, "attempts: {attempts}, because the broker was at work")?;
        }
        for Recovered { vhost, queues, messages, .. } in vhosts {
            writeln!(f, "vhost '{vhost}': {queues} queues, {messages} messages")?;
        }
        Ok(())
    }
}

/// Copies, checks the copy, and says what is in it.
#[expect(clippy::print_stdout, reason = "it is for the person who asked")]
pub(crate) fn run(arguments: &BackupArguments) -> Result<(), BackupFailure> {
    print!("{}", back_up_all(arguments)?);
    Ok(())
}

fn back_up_all(arguments: &BackupArguments) -> Result<Summary, BackupFailure> {
    let BackupArguments { data_dir, to } = arguments;
    if !data_dir.join(CATALOGUE).is_dir() {
        return Err(BackupFailure::NothingThere(data_dir.clone()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(BackupFailure::Exists(to.clone()));
    }
    let unfinished = unfinished(to);
    let mut attempts = 1;
    let (done, vhosts) = loop {
        match attempt(data_dir, &unfinished) {
            Ok(copied) => break copied,
            Err(failure) => {
                fs::remove_dir_all(&unfinished).map_err(file(&unfinished))?;
                if attempts == ATTEMPTS_MAX || !failure.may_pass() {
                    return Err(failure);
                }
            }
        }
        attempts += 1;
    };
    fs::rename(&unfinished, to).map_err(file(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))?;
    Ok(Summary { to: to.clone(), done, vhosts, attempts })
}

/// Beside its later place, so that giving it its name moves nothing.
fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".unfinished-{}", std::process::id()));
    to.with_file_name(name)
}

fn attempt(from: &Path, to: &Path) -> Result<(BackedUp, Vec<Recovered>), BackupFailure> {
    fs::create_dir(to).map_err(file(to))?;
    let (vhosts_from, vhosts_to) = (from.join(VHOSTS), to.join(VHOSTS));
    fs::create_dir(&vhosts_to).map_err(file(&vhosts_to))?;
    let mut done = BackedUp::default();
    let mut copied = BTreeSet::new();
    let mut copy_new = |done: &mut BackedUp| -> Result<(), BackupFailure> {
        for name in folders(&vhosts_from)? {
            if copied.insert(name.clone()) {
                add(done, back_up(&vhosts_from.join(&name), &vhosts_to.join(&name))?);
            }
        }
        Ok(())
    };
    copy_new(&mut done)?;
    add(&mut done, back_up(&from.join(CATALOGUE), &to.join(CATALOGUE))?);
    copy_new(&mut done)?;
    sync_directory(&vhosts_to)?;
    sync_directory(to)?;
    let reserve = Arc::new(Reserve::of(to));
    let copy = Folders { data_dir: to.to_path_buf(), reserve };
    let vhosts = rehearse(&copy, &SystemClock::start());
    Ok((done, vhosts.map_err(BackupFailure::Unreadable)?))
}

impl BackupFailure {
    /// Whether another attempt may go better.
    fn may_pass(&self) -> bool {
        match self {
            BackupFailure::Copy(error) => error.may_pass(),
            BackupFailure::Unreadable(_) => true,
            BackupFailure::NothingThere(_)
            | BackupFailure::Exists(_)
            | BackupFailure::File { .. } => false,
        }
    }
}

fn add(sum: &mut BackedUp, more: BackedUp) {
    sum.journal_bytes += more.journal_bytes;
    sum.segments_linked += more.segments_linked;
    sum.segments_copied += more.segments_copied;
}

fn folders(parent: &Path) -> Result<Vec<std::ffi::OsString>, BackupFailure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(parent).map_err(file(parent))? {
        let entry = entry.map_err(file(parent))?;
        if entry.file_type().map_err(file(parent))?.is_dir() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

fn sync_directory(path: &Path) -> Result<(), BackupFailure> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> BackupFailure {
    let path = path.to_path_buf();
    move |error| BackupFailure::File { path, error }
}
