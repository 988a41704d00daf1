//! `postroom repair`: what of a data directory is damaged and what is lost with it, and, if so told,
//! giving that up, so that the broker starts with everything else.
//!
//! Virtual hosts first, the catalogue last: a virtual host is not made known again before it can start.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use broker::{Aside, Damages, Note, RepairError};
use domain::name::Name;
use stdx::clock::SystemClock;
use storage::disk::{Disk, SalvageDisk};
use storage::{DirectoryLock, LockError};

use crate::folders::{CATALOGUE, existing, vhost_name};
use crate::inspect::{Style, open_disk, say};
use crate::serve::entropy;

/// So much of a file is copied at once.
const COPIED_BYTES: usize = 1 << 20;

/// What to repair.
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArguments {
    /// The data directory of a broker that is stopped
    #[arg(
        long,
        value_name = "DIR",
        env = "POSTROOM_DATA_DIR",
        hide_env_values = true,
        default_value = "./postroom-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// Give up what is lost; without it nothing is changed
    #[arg(long)]
    pub(crate) yes: bool,

    /// A JSON object a line, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why nothing is repaired, or not everything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairFailure {
    #[error(
        "{} is no data directory: it has neither a catalogue nor virtual hosts; name the right one \
         with --data-dir",
        .0.display()
    )]
    NothingThere(PathBuf),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Repair { path: PathBuf, error: RepairError },
    #[error(
        "{} is still damaged after the repair: please report this, and keep a copy of the directory",
        .0.display()
    )]
    StillDamaged(PathBuf),
}

/// A data directory that nobody else has.
struct Repair<'a> {
    data_dir: &'a Path,
    style: Style,
    clock: SystemClock,
    /// Virtual hosts that have folders.
    vhosts: Vec<Name>,
    /// Where the originals are put.
    aside: PathBuf,
}

/// Prints what is damaged and, if so told, gives it up. Ends with 1 if something is damaged and
/// left so.
pub(crate) fn run(arguments: &RepairArguments) -> Result<ExitCode, RepairFailure> {
    let RepairArguments { data_dir, yes, json } = arguments;
    let folders = existing(data_dir)
        .map_err(|error| RepairFailure::Path { path: data_dir.clone(), error })?;
    if folders.is_empty() {
        return Err(RepairFailure::NothingThere(data_dir.clone()));
    }
    let _lock = DirectoryLock::acquire(data_dir)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let repair = Repair {
        data_dir,
        style: if *json { Style::Json } else { Style::Text },
        clock: SystemClock::start(),
        vhosts: folders.iter().filter_map(|folder| vhost_name(folder)).collect(),
        aside: data_dir.join(format!("damaged-{seconds}")),
    };
    let mut damaged = Vec::new();
    let mut sum = Damages::default();
    for folder in folders.into_iter().rev() {
        let path = data_dir.join(&folder);
        repair.style.heading(&path);
        let found = repair.examine(&folder, &mut |note| repair.style.note(&path, &note))?;
        sum.journal_gaps += found.journal_gaps;
        sum.segments += found.segments;
        sum.messages_lost += found.messages_lost;
        sum.segments_orphaned += found.segments_orphaned;
        sum.unreadable += found.unreadable;
        sum.vhosts_unknown += found.vhosts_unknown;
        if found != Damages::default() {
            damaged.push(folder);
        }
    }
    if damaged.is_empty() {
        repair.tell_end(&sum, "nothing is damaged");
        return Ok(ExitCode::SUCCESS);
    }
    let Damages { journal_gaps, segments, messages_lost, segments_orphaned, unreadable, .. } = sum;
    let mut what = format!(
        "damaged places of journals: {journal_gaps}, and whatever was in lost frames is lost; damaged \
         segments: {segments}, and {messages_lost} messages in them are lost"
    );
    if unreadable > 0 {
        what = format!("{what}; places that the disk does not give back: {unreadable}");
    }
    if segments_orphaned > 0 {
        what = format!(
            "{what}; segments whose journal is lost, and whose messages come back: \
             {segments_orphaned}"
        );
    }
    if !*yes {
        repair.tell_end(&sum, &format!("{what}. Nothing was changed; --yes gives that up"));
        return Ok(ExitCode::FAILURE);
    }
    for folder in &damaged {
        repair.mend(folder)?;
        if repair.examine(folder, &mut |_| {})? != Damages::default() {
            return Err(RepairFailure::StillDamaged(data_dir.join(folder)));
        }
    }
    let originals = if repair.aside.exists() {
        format!("; the originals are in {}", repair.aside.display())
    } else {
        String::new()
    };
    repair.tell_end(&sum, &format!("{what}. Repaired{originals}"));
    Ok(ExitCode::SUCCESS)
}

impl Repair<'_> {
    fn examine(&self, folder: &Path, tell: &mut dyn FnMut(Note)) -> Result<Damages, RepairFailure> {
        let disk = self.open(folder)?;
        let found = if folder == Path::new(CATALOGUE) {
            broker::examine_catalogue(&disk, &self.vhosts, tell)
        } else {
            broker::examine_vhost(&disk, &self.clock, tell)
        };
        found.map_err(|error| self.failed(folder, error))
    }

    fn mend(&self, folder: &Path) -> Result<(), RepairFailure> {
        let disk = self.open(folder)?;
        let entropy: broker::Entropy = Arc::new(entropy);
        let (from, to) = (self.data_dir.join(folder), self.aside.join(folder));
        let mut aside = Beside { from, to };
        let done = if folder == Path::new(CATALOGUE) {
            let clock = &self.clock;
            broker::repair_catalogue(&disk, &self.vhosts, clock, &entropy, &mut aside)
        } else {
            broker::repair_vhost(&disk, &self.clock, &entropy, &mut aside)
        };
        done.map_err(|error| self.failed(folder, error))
    }

    fn open(&self, folder: &Path) -> Result<Arc<dyn Disk>, RepairFailure> {
        let path = self.data_dir.join(folder);
        open_disk(&path).map_err(|error| RepairFailure::Path { path, error })
    }

    fn failed(&self, folder: &Path, error: RepairError) -> RepairFailure {
        RepairFailure::Repair { path: self.data_dir.join(folder), error }
    }

    /// The last line.
    fn tell_end(&self, sum: &Damages, text: &str) {
        if self.style == Style::Text {
            say(text);
            return;
        }
        let object = serde_json::json!({
            "kind": "end",
            "journal_gaps": sum.journal_gaps,
            "segments": sum.segments,
            "messages_lost": sum.messages_lost,
            "segments_orphaned": sum.segments_orphaned,
            "unreadable": sum.unreadable,
            "text": text,
        });
        say(&object.to_string());
    }
}

/// Copies a file, with zeros where the disk does not give back what is there.
fn copy_readable(folder: &Path, name: &str, target: &Path) -> io::Result<()> {
    let file = SalvageDisk::new(open_disk(folder)?).open(name)?;
    let mut copy = File::create_new(target)?;
    let mut bytes = vec![0; COPIED_BYTES];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut bytes, at)?;
        if read == 0 {
            return copy.sync_all();
        }
        copy.write_all(&bytes[..read])?;
        at += read as u64;
    }
}

/// A directory beside the one that is repaired.
struct Beside {
    from: PathBuf,
    to: PathBuf,
}

impl Aside for Beside {
    fn copy(&mut self, file: &str) -> io::Result<()> {
        let target = self.make(file)?;
        copy_readable(&self.from, file, &target)?;
        File::open(&self.to)?.sync_all()
    }

    fn take(&mut self, file: &str) -> io::Result<()> {
        let target = self.make(file)?;
        fs::rename(self.from.join(file), target)?;
        File::open(&self.to)?.sync_all()?;
        File::open(&self.from)?.sync_all()
    }
}

impl Beside {
    /// The place of a file; whatever has its name already is not written over.
    fn make(&self, file: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.to)?;
        let target = self.to.join(file);
        if target.exists() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        Ok(target)
    }
}
