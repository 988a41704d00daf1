//! `postroom inspect` and `postroom repair`: what is in the data directory, told to a person, and what
//! is damaged, given up if that person says so.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use broker::{Detail, InspectError, Inspected};
use storage::disk::{Disk, RealDisk};
use storage::{DirectoryLock, LockError};

use crate::args::{Inspect, Repair};
use crate::folders::{Folders, folder_name};
use crate::serve::entropy;

/// Why a data directory can't be looked at or repaired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfflineError {
    #[error("{} is no data directory of a broker: nothing of one is in it", .0.display())]
    NoDataDirectory(PathBuf),
    #[error("{} can't be used: {error}", path.display())]
    Folder { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Journal { path: PathBuf, error: InspectError },
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Prints what is there; fails if something is damaged.
pub(crate) fn inspect(wanted: &Inspect) -> Result<ExitCode, OfflineError> {
    let detail = if wanted.records {
        Detail::Records
    } else if wanted.frames {
        Detail::Frames
    } else {
        Detail::Files
    };
    let mut folders = folders(&wanted.data_dir)?;
    if let Some(vhost) = &wanted.vhost {
        let wanted = Path::new("vhosts").join(folder_name(vhost));
        folders.retain(|folder| *folder == wanted);
    }
    let mut damaged = false;
    for folder in folders {
        let found = look_at(&wanted.data_dir, &folder, detail)?;
        damaged |= found != Inspected::default();
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints what is damaged and, if so told, gives it up.
pub(crate) fn repair(wanted: &Repair) -> Result<ExitCode, OfflineError> {
    let folders = folders(&wanted.data_dir)?;
    let _lock = DirectoryLock::acquire(&wanted.data_dir)?;
    let (mut journal_gaps, mut segment_damages) = (0, 0);
    for folder in &folders {
        let found = look_at(&wanted.data_dir, folder, Detail::Files)?;
        journal_gaps += found.journal_gaps;
        segment_damages += found.segment_damages;
        if wanted.yes && found.journal_gaps > 0 {
            mend(&wanted.data_dir, folder)?;
        }
    }
    if segment_damages > 0 {
        say("damaged segments are reported only; restore them from a backup");
    }
    let left = if wanted.yes { segment_damages } else { journal_gaps + segment_damages };
    say(&match (journal_gaps + segment_damages, wanted.yes) {
        (0, _) => "nothing is damaged".to_owned(),
        (places, false) => format!(
            "{places} places are damaged; --yes gives up what is lost of the journals, and with it \
             the messages, settlements and declarations that were in the lost frames"
        ),
        (_, true) => format!("{journal_gaps} places of journals were repaired"),
    });
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn folders(data_dir: &Path) -> Result<Vec<PathBuf>, OfflineError> {
    let folders = Folders(data_dir.to_path_buf());
    match folders.existing() {
        Ok(existing) if existing.is_empty() => {
            Err(OfflineError::NoDataDirectory(data_dir.to_path_buf()))
        }
        Ok(existing) => Ok(existing),
        Err(error) => Err(OfflineError::Folder { path: data_dir.to_path_buf(), error }),
    }
}

fn look_at(data_dir: &Path, folder: &Path, detail: Detail) -> Result<Inspected, OfflineError> {
    say(&format!("== {}", folder.display()));
    let disk = open(&data_dir.join(folder))?;
    broker::inspect(&disk, detail, &mut |line| say(line))
        .map_err(|error| OfflineError::Journal { path: folder.to_path_buf(), error })
}

fn open(path: &Path) -> Result<Arc<dyn Disk>, OfflineError> {
    match RealDisk::open(path) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) => Err(OfflineError::Folder { path: path.to_path_buf(), error }),
    }
}

fn mend(data_dir: &Path, folder: &Path) -> Result<(), OfflineError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = data_dir.join(format!("repaired-{seconds}")).join(folder);
    let mut put_aside = |file: &str| {
        fs::create_dir_all(&aside)?;
        fs::copy(data_dir.join(folder).join(file), aside.join(file))?;
        fs::File::open(aside.join(file))?.sync_all()?;
        fs::File::open(&aside)?.sync_all()
    };
    let disk = open(&data_dir.join(folder))?;
    broker::repair_directory(&disk, &mut entropy, &mut put_aside)
        .map_err(|error| OfflineError::Journal { path: folder.to_path_buf(), error })?;
    say(&format!("repaired; the originals are in {}", aside.display()));
    Ok(())
}

/// A reader that goes away (`| head`) is no failure.
fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
