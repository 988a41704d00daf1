//! The disk that the preloaded library plays: small, or failing. What it is to do stands in a file
//! that the library reads again whenever something is asked of the disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longer than anything that is written to it.
const CONTROL_BYTES: usize = 128;

/// The disk of a run.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) control: PathBuf,
    data: PathBuf,
}

/// What the disk is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// What the machine's own does.
    Sound,
    /// All files together may have so many bytes.
    Capacity(u64),
    /// The so manieth write from now on fails.
    FailWrite(u64),
    /// The so manieth sync from now on fails.
    FailSync(u64),
}

impl Disk {
    pub(crate) fn of(control: PathBuf, data: PathBuf) -> Self {
        Self { control, data }
    }

    /// From now on it does this. Written in place and in one write, so that nothing half is read.
    pub(crate) fn behave(&self, behaviour: Behaviour) -> io::Result<()> {
        let line = match behaviour {
            Behaviour::Sound => String::new(),
            Behaviour::Capacity(bytes) => format!("capacity={bytes}"),
            Behaviour::FailWrite(nth) => format!("fail_write={nth}"),
            Behaviour::FailSync(nth) => format!("fail_sync={nth}"),
        };
        let mut text = [b'\n'; CONTROL_BYTES];
        text[..line.len()].copy_from_slice(line.as_bytes());
        let options = File::options().write(true).create(true).truncate(false).open(&self.control);
        options?.write_all_at(&text, 0)
    }

    /// How many bytes all files have. Some may come and go meanwhile.
    pub(crate) fn used_bytes(&self) -> u64 {
        bytes_below(&self.data)
    }
}

fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_gone) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_told_replaces_what_it_was_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("deep")).unwrap();
        fs::write(data.join("deep/file"), "seven b").unwrap();
        let disk = Disk::of(folder.path().join("disk"), data);
        assert_eq!(disk.used_bytes(), 7);
        let told = |behaviour| {
            disk.behave(behaviour).unwrap();
            fs::read_to_string(&disk.control).unwrap().trim_end().to_owned()
        };
        assert_eq!(told(Behaviour::Capacity(1 << 30)), "capacity=1073741824");
        assert_eq!(told(Behaviour::FailSync(3)), "fail_sync=3");
        assert_eq!(told(Behaviour::Sound), "");
    }
}
