//! The undo log: one record per step, written before the step takes effect, so that the log is
//! complete at whatever instant the process is killed.
//!
//! ```text
//! record  = length u32 · checksum u64 (xxh3 of the payload) · payload          little-endian
//! payload = tag u8 · fields
//!   1 bytes    inode u64 · offset u64 · span u64 · length before u64 · the old bytes at offset
//!   2 names    count u8 · (path · before u8: 0 nothing, 1 file + inode u64, 2 directory) each
//!   3 synced bytes     inode u64 · position u64
//!   4 synced names     directory path · position u64
//!   5 synced all       position u64
//!   6 moved directory  path from · path to
//! path    = length u16 · bytes, relative to the directory watched
//! ```
//! A position is the length of the log when the sync began: steps recorded before it are kept.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

const HEADER_BYTES: usize = 12;

/// Something that the process does to the directory, with what takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bytes `offset..offset + span` of a file or its length are about to change.
    Bytes {
        /// The file.
        inode: u64,
        /// Where the change begins.
        offset: u64,
        /// How many bytes it may change.
        span: u64,
        /// The file's length before.
        length_before: u64,
        /// What stands in the span now, as far as the file reaches.
        old: Vec<u8>,
    },
    /// Names are about to change, all of these at once or none.
    Names(Vec<Change>),
    /// fsync or fdatasync of a file has returned.
    SyncedBytes {
        /// The file.
        inode: u64,
        /// Steps recorded before this position are kept.
        up_to: u64,
    },
    /// fsync of a directory has returned.
    SyncedNames {
        /// The directory.
        directory: PathBuf,
        /// Steps recorded before this position are kept.
        up_to: u64,
    },
    /// sync or syncfs has returned.
    SyncedAll {
        /// Steps recorded before this position are kept.
        up_to: u64,
    },
    /// A directory is about to be renamed. This is taken as kept at once: a known gap.
    MovedDirectory {
        /// Its name before.
        from: PathBuf,
        /// Its name after.
        to: PathBuf,
    },
}

/// One name that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name, relative to the directory watched.
    pub path: PathBuf,
    /// What it stood for until now.
    pub before: Before,
}

/// What a name stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing had this name.
    Nothing,
    /// The file with this inode.
    File(u64),
    /// A directory.
    Directory,
}

/// A step and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the record begins in the log.
    pub position: u64,
    /// What it says.
    pub step: Step,
}

/// Why a log can't be believed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A whole record whose checksum is right, but which says nothing known.
    #[error("the undo log's record at byte {position} is not understood")]
    Unknown {
        /// Where it begins.
        position: u64,
    },
}

impl Step {
    /// The record as it stands in the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        match self {
            Self::Bytes { inode, offset, span, length_before, old } => {
                bytes.push(1);
                for number in [inode, offset, span, length_before] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                bytes.extend_from_slice(old);
            }
            Self::Names(changes) => {
                bytes.push(2);
                bytes.push(u8::try_from(changes.len()).unwrap_or(u8::MAX));
                for change in changes {
                    put_path(&mut bytes, &change.path);
                    match change.before {
                        Before::Nothing => bytes.push(0),
                        Before::File(inode) => {
                            bytes.push(1);
                            bytes.extend_from_slice(&inode.to_le_bytes());
                        }
                        Before::Directory => bytes.push(2),
                    }
                }
            }
            Self::SyncedBytes { inode, up_to } => {
                bytes.push(3);
                bytes.extend_from_slice(&inode.to_le_bytes());
                bytes.extend_from_slice(&up_to.to_le_bytes());
            }
            Self::SyncedNames { directory, up_to } => {
                bytes.push(4);
                put_path(&mut bytes, directory);
                bytes.extend_from_slice(&up_to.to_le_bytes());
            }
            Self::SyncedAll { up_to } => {
                bytes.push(5);
                bytes.extend_from_slice(&up_to.to_le_bytes());
            }
            Self::MovedDirectory { from, to } => {
                bytes.push(6);
                put_path(&mut bytes, from);
                put_path(&mut bytes, to);
            }
        }
        let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..].copy_from_slice(&xxh3_64(payload).to_le_bytes());
        bytes
    }
}

fn put_path(bytes: &mut Vec<u8>, path: &Path) {
    let path = path.as_os_str().as_bytes();
    bytes.extend_from_slice(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(path);
}

/// All records of a log. A torn last record is left out: its step never began.
pub fn read_log(log: &[u8]) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    let mut rest = log;
    while let Some((payload, after)) = next_payload(rest) {
        let position = (log.len() - rest.len()) as u64;
        let step = decode(payload).ok_or(LogError::Unknown { position })?;
        records.push(Record { position, step });
        rest = after;
    }
    Ok(records)
}

fn next_payload(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (xxh3_64(payload) == u64::from_le_bytes(*checksum)).then_some((payload, rest))
}

fn decode(payload: &[u8]) -> Option<Step> {
    let mut fields = Fields(payload);
    let step = match fields.byte()? {
        1 => Step::Bytes {
            inode: fields.number()?,
            offset: fields.number()?,
            span: fields.number()?,
            length_before: fields.number()?,
            old: std::mem::take(&mut fields.0).to_vec(),
        },
        2 => {
            let count = fields.byte()?;
            Step::Names((0..count).map(|_| fields.change()).collect::<Option<_>>()?)
        }
        3 => Step::SyncedBytes { inode: fields.number()?, up_to: fields.number()? },
        4 => Step::SyncedNames { directory: fields.path()?, up_to: fields.number()? },
        5 => Step::SyncedAll { up_to: fields.number()? },
        6 => Step::MovedDirectory { from: fields.path()?, to: fields.path()? },
        _ => return None,
    };
    fields.0.is_empty().then_some(step)
}

struct Fields<'log>(&'log [u8]);

impl<'log> Fields<'log> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn path(&mut self) -> Option<PathBuf> {
        let length = u16::from_le_bytes(self.take()?);
        let (path, rest): (&'log [u8], _) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(PathBuf::from(OsStr::from_bytes(path)))
    }

    fn change(&mut self) -> Option<Change> {
        let path = self.path()?;
        let before = match self.byte()? {
            0 => Before::Nothing,
            1 => Before::File(self.number()?),
            2 => Before::Directory,
            _ => return None,
        };
        Some(Change { path, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Step> {
        vec![
            Step::Bytes { inode: 7, offset: 3, span: 5, length_before: 6, old: b"old".to_vec() },
            Step::Names(vec![
                Change { path: "a/b".into(), before: Before::Nothing },
                Change { path: "a/c".into(), before: Before::File(9) },
                Change { path: "d".into(), before: Before::Directory },
            ]),
            Step::SyncedBytes { inode: 7, up_to: 12 },
            Step::SyncedNames { directory: "a".into(), up_to: 13 },
            Step::SyncedAll { up_to: 14 },
            Step::MovedDirectory { from: "a".into(), to: "z".into() },
        ]
    }

    #[test]
    fn every_step_reads_back_and_a_torn_tail_ends_the_log() {
        let mut log = Vec::new();
        let mut ends = vec![0];
        for step in one_of_each() {
            log.extend(step.encode());
            ends.push(log.len());
        }
        for cut in 0..=log.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let steps: Vec<Step> =
                read_log(&log[..cut]).unwrap().into_iter().map(|record| record.step).collect();
            assert_eq!(steps, one_of_each()[..whole], "cut at byte {cut}");
        }
    }
}
