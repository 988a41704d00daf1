//! Nothing may escape the watch: a write that the preloaded library didn't see would survive every
//! power loss and prove nothing. So after a run everything that the log knows is taken back, synced
//! or not, and the result must be what the directory was before the run, to the byte.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::graveyard_of;
use crate::image::{Image, Node};
use crate::loss::{LossError, take_back_everything};
use crate::record::read_log;

/// Every name below a directory, with length and checksum of the files.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    names: BTreeMap<PathBuf, Option<(usize, u64)>>,
}

impl Snapshot {
    /// The directory as it is now.
    pub fn take(directory: &Path) -> io::Result<Self> {
        Self::of(&Image::scan(directory, Path::new("/nonexistent"))?)
    }

    fn of(image: &Image) -> io::Result<Self> {
        let mut names = BTreeMap::new();
        for (name, node) in &image.names {
            let content = match node {
                Node::Directory => None,
                Node::File(inode) => {
                    let bytes = image.bytes_of(*inode)?;
                    Some((bytes.len(), xxh3_64(&bytes)))
                }
            };
            names.insert(name.clone(), content);
        }
        Ok(Self { names })
    }
}

/// The names whose change since `before` the log doesn't explain. Empty if the watch was complete.
pub fn audit(before: &Snapshot, directory: &Path, log: &Path) -> Result<Vec<PathBuf>, LossError> {
    let records = read_log(&std::fs::read(log)?)?;
    let mut image = Image::scan(directory, &graveyard_of(log))?;
    take_back_everything(&mut image, &records)?;
    image.drop_orphans();
    let undone = Snapshot::of(&image)?;
    let mut unexplained: Vec<PathBuf> = before
        .names
        .keys()
        .chain(undone.names.keys())
        .filter(|name| before.names.get(*name) != undone.names.get(*name))
        .cloned()
        .collect();
    unexplained.sort();
    unexplained.dedup();
    Ok(unexplained)
}
