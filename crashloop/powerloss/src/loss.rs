//! Losing power: the steps that no sync covers are taken back from the newest to the oldest, then,
//! if the disk is to have kept some of them, a random part is done again, torn at sectors.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::image::{Image, Node};
use crate::record::{Before, Change, LogError, Record, Step, read_log};
use crate::{Random, graveyard_of};

/// Disks write a sector whole or not at all; that is the most one may believe.
const SECTOR_BYTES: usize = 512;

/// Of the writes that are longer than a sector.
const TORN_PER_CENT: u64 = 60;

/// How much of the un-synced is lost.
#[derive(Debug)]
pub enum Loss {
    /// All of it.
    All,
    /// A random part; of what is left some is torn.
    Some(Random),
}

/// What happened to the un-synced steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossReport {
    /// Changes of bytes or names that the log holds.
    pub steps: usize,
    /// Those among them that no sync covered.
    pub unsynced: usize,
    /// Un-synced ones that the disk is made to have kept whole.
    pub kept: usize,
    /// Un-synced ones of which the disk is made to have kept some sectors.
    pub torn: usize,
}

/// Why power could not be lost.
#[derive(Debug, thiserror::Error)]
pub enum LossError {
    /// The directory or the log could not be read or written.
    #[error("losing power: {0}")]
    Io(#[from] io::Error),
    /// The log is not ours.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Makes `directory` what a power loss would have left. Nobody may have it open.
pub fn lose_power(directory: &Path, log: &Path, loss: Loss) -> Result<LossReport, LossError> {
    let records = read_log(&std::fs::read(log)?)?;
    let kept = Kept::of(&records);
    let mut image = Image::scan(directory, &graveyard_of(log))?;
    let mut report = LossReport::default();
    let mut taken_back = Vec::new();
    for record in records.iter().rev() {
        let unsynced = match &record.step {
            Step::SyncedBytes { .. } | Step::SyncedNames { .. } | Step::SyncedAll { .. } => {
                continue;
            }
            // Undone and always done again, so that older steps find their own names.
            Step::MovedDirectory { .. } => true,
            Step::Bytes { .. } | Step::Names(_) => {
                report.steps += 1;
                let unsynced = !kept.covers(record);
                report.unsynced += usize::from(unsynced);
                unsynced
            }
        };
        if unsynced {
            taken_back.extend(take_back(&mut image, &record.step)?);
        }
    }
    taken_back.reverse();
    do_again(&mut image, taken_back, loss, &mut report)?;
    image.drop_orphans();
    image.write_back(directory)?;
    Ok(report)
}

/// Up to which position of the log each thing is synced.
struct Kept<'log> {
    all: u64,
    bytes: HashMap<u64, u64>,
    names: HashMap<&'log Path, u64>,
}

impl<'log> Kept<'log> {
    fn of(records: &'log [Record]) -> Self {
        let mut kept = Self { all: 0, bytes: HashMap::new(), names: HashMap::new() };
        for record in records {
            match &record.step {
                Step::SyncedAll { up_to } => kept.all = kept.all.max(*up_to),
                Step::SyncedBytes { inode, up_to } => {
                    let position = kept.bytes.entry(*inode).or_default();
                    *position = (*position).max(*up_to);
                }
                Step::SyncedNames { directory, up_to } => {
                    let position = kept.names.entry(directory).or_default();
                    *position = (*position).max(*up_to);
                }
                Step::Bytes { .. } | Step::Names(_) | Step::MovedDirectory { .. } => {}
            }
        }
        kept
    }

    fn covers(&self, record: &Record) -> bool {
        let synced = match &record.step {
            Step::Bytes { inode, .. } => self.bytes.get(inode).copied().unwrap_or(0),
            // All names of one step lie in one directory.
            Step::Names(changes) => changes
                .first()
                .and_then(|change| change.path.parent())
                .and_then(|directory| self.names.get(directory))
                .copied()
                .unwrap_or(0),
            Step::SyncedBytes { .. }
            | Step::SyncedNames { .. }
            | Step::SyncedAll { .. }
            | Step::MovedDirectory { .. } => return true,
        };
        record.position < synced.max(self.all)
    }
}

/// A step that was taken back, with what it had made.
enum TakenBack {
    Bytes { inode: u64, offset: usize, made: Vec<u8>, length_before: usize, length_after: usize },
    Names(Vec<(PathBuf, Option<Node>)>),
    MovedDirectory { from: PathBuf, to: PathBuf },
}

/// Takes one step back. Steps must come from the newest to the oldest.
#[expect(clippy::cast_possible_truncation, reason = "whole files are held in memory here")]
fn take_back(image: &mut Image, step: &Step) -> io::Result<Option<TakenBack>> {
    match step {
        Step::Bytes { inode, offset, span, length_before, old } => {
            let Some(bytes) = image.bytes_mut(*inode)? else {
                return Ok(None);
            };
            let (offset, length_before) = (*offset as usize, *length_before as usize);
            let length_after = bytes.len();
            let end = length_after.min(offset.saturating_add(*span as usize));
            let made = bytes.get(offset..end).unwrap_or_default().to_vec();
            bytes.resize(length_before, 0);
            if let Some(place) = bytes.get_mut(offset..offset + old.len()) {
                place.copy_from_slice(old);
            }
            let inode = *inode;
            Ok(Some(TakenBack::Bytes { inode, offset, made, length_before, length_after }))
        }
        Step::Names(changes) => {
            // Backwards, should one step name the same place twice.
            let mut made: Vec<(PathBuf, Option<Node>)> = changes
                .iter()
                .rev()
                .map(|Change { path, before }| {
                    let made = image.names.get(path).copied();
                    set_name(image, path, node_of(*before));
                    (path.clone(), made)
                })
                .collect();
            made.reverse();
            Ok(Some(TakenBack::Names(made)))
        }
        Step::MovedDirectory { from, to } => {
            move_directory(image, to, from);
            Ok(Some(TakenBack::MovedDirectory { from: from.clone(), to: to.clone() }))
        }
        Step::SyncedBytes { .. } | Step::SyncedNames { .. } | Step::SyncedAll { .. } => Ok(None),
    }
}

/// Takes every step of a log back, synced or not.
pub(crate) fn take_back_everything(image: &mut Image, records: &[Record]) -> io::Result<()> {
    for record in records.iter().rev() {
        take_back(image, &record.step)?;
    }
    Ok(())
}

fn do_again(
    image: &mut Image,
    taken_back: Vec<TakenBack>,
    loss: Loss,
    report: &mut LossReport,
) -> io::Result<()> {
    let (mut random, kept_per_cent) = match loss {
        Loss::All => (Random::new(0), 0),
        // Some disks lose little, some nearly all.
        Loss::Some(mut random) => {
            let kept_per_cent = [10, 50, 90][random.index(3)];
            (random, kept_per_cent)
        }
    };
    for step in taken_back {
        match step {
            TakenBack::MovedDirectory { from, to } => move_directory(image, &from, &to),
            TakenBack::Names(made) if random.chance(kept_per_cent) => {
                report.kept += 1;
                for (path, node) in made {
                    set_name(image, &path, node);
                }
            }
            TakenBack::Bytes { inode, offset, made, length_before, length_after }
                if kept_per_cent > 0 =>
            {
                let torn = random.chance(TORN_PER_CENT) && made.len() > SECTOR_BYTES;
                if !torn && !random.chance(kept_per_cent) {
                    continue;
                }
                let Some(bytes) = image.bytes_mut(inode)? else {
                    continue;
                };
                report.torn += usize::from(torn);
                report.kept += usize::from(!torn);
                if length_after < length_before {
                    bytes.truncate(length_after);
                } else if length_after > bytes.len() && !(torn && random.chance(50)) {
                    bytes.resize(length_after, 0);
                }
                write_sectors(bytes, offset, &made, |_| !torn || random.chance(50));
            }
            TakenBack::Names(_) | TakenBack::Bytes { .. } => {}
        }
    }
    Ok(())
}

/// Writes the sectors of `made` that the disk kept, as far as the file reaches.
fn write_sectors(
    bytes: &mut [u8],
    offset: usize,
    made: &[u8],
    mut keeps: impl FnMut(usize) -> bool,
) {
    let mut from = 0;
    while from < made.len() {
        let to_boundary = SECTOR_BYTES - (offset + from) % SECTOR_BYTES;
        let to = made.len().min(from + to_boundary);
        let end = bytes.len().min(offset + to);
        if keeps(from)
            && let Some(place) = bytes.get_mut(offset + from..end)
        {
            place.copy_from_slice(&made[from..from + place.len()]);
        }
        from = to;
    }
}

fn node_of(before: Before) -> Option<Node> {
    match before {
        Before::Nothing => None,
        Before::File(inode) => Some(Node::File(inode)),
        Before::Directory => Some(Node::Directory),
    }
}

fn set_name(image: &mut Image, path: &Path, node: Option<Node>) {
    match node {
        Some(node) => image.names.insert(path.to_owned(), node),
        None => image.names.remove(path),
    };
}

fn move_directory(image: &mut Image, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> =
        image.names.keys().filter(|name| name.starts_with(from)).cloned().collect();
    for name in moved {
        let node = image.names.remove(&name);
        if let (Some(node), Ok(below)) = (node, name.strip_prefix(from)) {
            let name = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            image.names.insert(name, node);
        }
    }
}
