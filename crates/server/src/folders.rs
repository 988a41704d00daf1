//! The folders under the data directory: one for the catalogue, one for each virtual host.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{Disks, Relief};
use domain::name::Name;
use storage::disk::{Disk, RealDisk};

use crate::reserve::Reserve;
/// The folder of the catalogue in the data directory.
pub(crate) const CATALOGUE: &str = "catalogue";

/// The folder of the virtual hosts' folders.
pub(crate) const VHOSTS: &str = "vhosts";

/// The data directory.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) data_dir: PathBuf,
    pub(crate) reserve: Arc<Reserve>,
}

impl Folders {
    /// The data directory at `path`.
    pub(crate) fn of(path: &Path) -> Folders {
        Folders { data_dir: path.to_path_buf(), reserve: Arc::new(Reserve::of(path)) }
    }
}

impl Disks for Folders {
    fn catalogue(&self) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(RealDisk::open(&self.data_dir.join(CATALOGUE))?))
    }

    fn vhost(&self, name: &Name) -> io::Result<Arc<dyn Disk>> {
        let path = self.data_dir.join(VHOSTS).join(folder_name(name.as_str()));
        Ok(Arc::new(RealDisk::open(&path)?))
    }

    fn erase_vhost(&self, name: &Name) -> io::Result<()> {
        let vhosts = self.data_dir.join(VHOSTS);
        match std::fs::remove_dir_all(vhosts.join(folder_name(name.as_str()))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
        RealDisk::open(&vhosts)?.sync_dir()
    }

    fn relieve(&self) -> Relief {
        self.reserve.give_back()
    }
}

/// The folders that are there: the catalogue's, then those of virtual hosts in the order of their names.
pub(crate) fn existing(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    match std::fs::read_dir(data_dir.join(VHOSTS)) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(Path::new(VHOSTS).join(entry.file_name()));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    folders.sort_unstable();
    if data_dir.join(CATALOGUE).is_dir() {
        folders.insert(0, PathBuf::from(CATALOGUE));
    }
    Ok(folders)
}

/// The virtual host that a folder belongs to; none if it is another folder.
pub(crate) fn vhost_name(folder: &Path) -> Option<Name> {
    let written = folder.strip_prefix(VHOSTS).ok()?.to_str()?;
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    let name = Name::new(std::str::from_utf8(&bytes).ok()?).ok()?;
    (folder_name(name.as_str()) == written).then_some(name)
}

/// A virtual host's name as that of a folder: what could mean something to a file system is
/// written as in a URL.
pub(crate) fn folder_name(vhost: &str) -> String {
    let mut name = String::new();
    for byte in vhost.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if plain && !(byte == b'.' && name.is_empty()) {
            name.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{VHOSTS, folder_name, vhost_name};

    #[test]
    fn names_are_folders_wherever_they_lead() {
        for (vhost, folder) in [
            ("/", "%2F"),
            ("orders", "orders"),
            ("orders-2.eu_west", "orders-2.eu_west"),
            (".", "%2E"),
            ("..", "%2E."),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("100%", "100%25"),
            ("é", "%C3%A9"),
            ("a b\0", "a%20b%00"),
        ] {
            assert_eq!(folder_name(vhost), folder);
            let name = vhost_name(&Path::new(VHOSTS).join(folder)).unwrap();
            assert_eq!(name.as_str(), vhost);
        }
    }

    #[test]
    fn other_folders_belong_to_nobody() {
        for other in
            ["vhosts/a b", "vhosts/%2", "vhosts/%2f", "vhosts/%FF", "catalogue", "x/orders"]
        {
            assert_eq!(vhost_name(Path::new(other)), None, "{other}");
        }
    }
}
