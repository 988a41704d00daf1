//! Where everything is kept: the directories that whoever starts the broker has for it.

use std::io;
use std::sync::Arc;

use domain::name::Name;
use storage::disk::Disk;

/// Where the broker keeps what it keeps.
pub trait Disks: Send + Sync + std::fmt::Debug {
    /// The directory of the catalogue.
    fn catalogue(&self) -> io::Result<Arc<dyn Disk>>;

    /// The directory that belongs to that virtual host alone; made if it is not there.
    fn vhost(&self, name: &Name) -> io::Result<Arc<dyn Disk>>;

    /// Deletes the directory of a virtual host that is no more, with everything in it, durably. One
    /// that is not there is deleted already.
    fn erase_vhost(&self, name: &Name) -> io::Result<()>;

    /// A journal found no room: what is held in reserve for that is given back to the disk, if
    /// there is any. It is made again by whoever sees that there is room.
    fn relieve(&self) -> Relief {
        Relief::NothingLeft
    }
}

/// Whether there is more room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// So it is.
    GaveBack,
    /// There is nothing in reserve.
    NothingLeft,
}
