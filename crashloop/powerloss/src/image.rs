//! A directory as names and bytes apart, the way a disk keeps it: names lead to inodes, bytes belong
//! to inodes. Undoing and choosing happen here, in memory; only the result is written back.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The file with this inode.
    File(u64),
    Directory,
}

/// Names and bytes of a directory.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) names: BTreeMap<PathBuf, Node>,
    /// Bytes of the files that were looked at; others are still as they stand on disk.
    bytes: HashMap<u64, Vec<u8>>,
    /// Some path on disk for every inode there is, in the directory or in the graveyard.
    sources: HashMap<u64, PathBuf>,
}

impl Image {
    /// The directory as it stands on disk.
    pub(crate) fn scan(directory: &Path, graveyard: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        let mut buried = Self::default();
        if graveyard.exists() {
            buried.scan_below(graveyard, Path::new(""))?;
        }
        image.scan_below(directory, Path::new(""))?;
        for (inode, path) in buried.sources {
            image.sources.entry(inode).or_insert(path);
        }
        Ok(image)
    }

    fn scan_below(&mut self, root: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.names.insert(name.clone(), Node::Directory);
                self.scan_below(root, &name)?;
            } else if metadata.is_file() {
                self.names.insert(name, Node::File(metadata.ino()));
                self.sources.insert(metadata.ino(), entry.path());
            } else {
                return Err(io::Error::other(format!(
                    "{} is neither a file nor a directory",
                    entry.path().display()
                )));
            }
        }
        Ok(())
    }

    /// A file's bytes, to be changed. None if the file is gone: then nobody can read it any more.
    pub(crate) fn bytes_mut(&mut self, inode: u64) -> io::Result<Option<&mut Vec<u8>>> {
        let Some(source) = self.sources.get(&inode) else {
            return Ok(None);
        };
        match self.bytes.entry(inode) {
            std::collections::hash_map::Entry::Occupied(bytes) => Ok(Some(bytes.into_mut())),
            std::collections::hash_map::Entry::Vacant(place) => {
                Ok(Some(place.insert(fs::read(source)?)))
            }
        }
    }

    /// A file's bytes as the image has them.
    pub(crate) fn bytes_of(&self, inode: u64) -> io::Result<Vec<u8>> {
        match (self.bytes.get(&inode), self.sources.get(&inode)) {
            (Some(bytes), _) => Ok(bytes.clone()),
            (None, Some(source)) => fs::read(source),
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Drops names below directories that are gone, and names of files that are nowhere.
    pub(crate) fn drop_orphans(&mut self) {
        let names = self.names.clone();
        self.names.retain(|name, node| {
            let parents_there = name
                .ancestors()
                .skip(1)
                .filter(|parent| !parent.as_os_str().is_empty())
                .all(|parent| names.get(parent) == Some(&Node::Directory));
            let bytes_there = match node {
                Node::File(inode) => self.sources.contains_key(inode),
                Node::Directory => true,
            };
            parents_there && bytes_there
        });
    }

    /// Makes the directory on disk what the image says.
    pub(crate) fn write_back(&self, directory: &Path) -> io::Result<()> {
        let rebuilt = beside(directory, "rebuilt");
        let replaced = beside(directory, "replaced");
        for leftover in [&rebuilt, &replaced] {
            if leftover.exists() {
                fs::remove_dir_all(leftover)?;
            }
        }
        fs::create_dir(&rebuilt)?;
        fs::set_permissions(&rebuilt, fs::metadata(directory)?.permissions())?;
        for (name, node) in &self.names {
            match node {
                Node::Directory => fs::create_dir(rebuilt.join(name))?,
                Node::File(inode) => {
                    let source = self.sources.get(inode).ok_or(io::ErrorKind::NotFound)?;
                    fs::hard_link(source, rebuilt.join(name))?;
                    if let Some(bytes) = self.bytes.get(inode) {
                        write_difference(&rebuilt.join(name), bytes)?;
                    }
                }
            }
        }
        fs::rename(directory, &replaced)?;
        fs::rename(&rebuilt, directory)?;
        fs::remove_dir_all(&replaced)
    }
}

/// Writes only what differs: most of a journal file is the same before and after.
fn write_difference(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = fs::read(path)?;
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes.len() as u64)?;
    let first = there.iter().zip(bytes).take_while(|(there, wanted)| there == wanted).count();
    file.write_all_at(&bytes[first..], first as u64)
}

fn beside(directory: &Path, word: &str) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(".");
    path.push(word);
    PathBuf::from(path)
}
