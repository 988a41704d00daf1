//! The watch: which files and directories are ours, and the undo log. One lock is held over the
//! record and the change it announces, so that the log tells the true order.

use std::collections::{HashMap, HashSet};
use std::env;
use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use powerloss::{Before, Change, Step, graveyard_of};

use crate::place::{Directories, Identity, Status};
use crate::real::{self, Errno, die};
use crate::room::{Request, Room};

/// Everything the library knows.
#[derive(Debug)]
pub(crate) struct Watch {
    log_fd: c_int,
    root: PathBuf,
    graveyard: PathBuf,
    buried: u64,
    pub(crate) directories: Directories,
    files: HashSet<Identity>,
    /// A descriptor for reading each file that was written to; it also keeps the inode's number
    /// from being given to another file.
    readers: HashMap<u64, c_int>,
    sync_delay: Duration,
    /// The disk, if it is a small or a failing one.
    pub(crate) room: Option<Room>,
}

/// The watch, locked; none if this process is not to be watched.
pub(crate) fn watch() -> Option<MutexGuard<'static, Watch>> {
    static WATCH: OnceLock<Option<Mutex<Watch>>> = OnceLock::new();
    let watch = WATCH.get_or_init(|| Watch::from_environment().map(Mutex::new)).as_ref()?;
    Some(watch.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Watch {
    fn from_environment() -> Option<Self> {
        let root = PathBuf::from(env::var_os("FORGETFUL_DIR")?);
        let log = PathBuf::from(env::var_os("FORGETFUL_LOG")?);
        let sync_delay_us = env::var("FORGETFUL_SYNC_DELAY_US")
            .map_or(0, |text| text.parse().unwrap_or_else(|_| die("FORGETFUL_SYNC_DELAY_US")));
        let Ok(directories) = Directories::below(&root) else { die("FORGETFUL_DIR can't be read") };
        let disk = env::var_os("FORGETFUL_DISK").map(|control| {
            let (path, flags) = (c_string(Path::new(&control)), libc::O_RDONLY | libc::O_CLOEXEC);
            // SAFETY: the path is a C string.
            let fd = unsafe { real::openat(libc::AT_FDCWD, path.as_ptr(), flags, 0) };
            if fd < 0 {
                die("FORGETFUL_DISK can't be opened");
            }
            Room::new(fd, &root)
        });
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
        let path = c_string(&log);
        // SAFETY: the path is a C string.
        let log_fd = unsafe { real::openat(libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
        if log_fd < 0 {
            die("FORGETFUL_LOG can't be opened");
        }
        Some(Self {
            log_fd,
            root,
            graveyard: graveyard_of(&log),
            buried: 0,
            directories,
            files: HashSet::new(),
            readers: HashMap::new(),
            sync_delay: Duration::from_micros(sync_delay_us),
            room: disk,
        })
    }

    /// How many of the `span` bytes from `offset` on there is room for in a file; an error's number
    /// if that is none at all, or if this write is to fail.
    pub(crate) fn allow(&mut self, file: &Status, offset: u64, span: u64) -> Result<u64, c_int> {
        let Some(room) = &mut self.room else { return Ok(span) };
        if room.fails(Request::Write) {
            return Err(libc::EIO);
        }
        let present = file.length.saturating_sub(offset).min(span);
        let gap = offset.saturating_sub(file.length);
        let wanted = gap + span - present;
        let allowed = room.allows(file.identity.inode, wanted);
        match present + allowed.saturating_sub(gap) {
            0 if span > 0 => Err(libc::ENOSPC),
            fits => Ok(fits.min(span)),
        }
    }

    /// Whether names may be added or changed.
    pub(crate) fn allows_name(&mut self) -> bool {
        self.room.as_mut().is_none_or(Room::allows_name)
    }

    /// Whether a sync that is about to begin fails.
    pub(crate) fn fails_sync(&mut self) -> bool {
        self.room.as_mut().is_some_and(|room| room.fails(Request::Sync))
    }

    /// A file's length may have changed.
    pub(crate) fn measure(&mut self, fd: c_int) {
        let _errno = Errno::keep();
        if let (Some(room), Some(file)) = (&mut self.room, Status::of_descriptor(fd)) {
            room.is_long(file.identity.inode, file.length);
        }
    }

    /// A file got a name.
    pub(crate) fn named(&mut self, file: &Status) {
        if let Some(room) = self.room.as_mut().filter(|_| file.is_file()) {
            room.named(file.identity.inode);
            room.is_long(file.identity.inode, file.length);
        }
    }

    /// A file lost a name.
    pub(crate) fn unnamed(&mut self, file: &Status) {
        if let Some(room) = self.room.as_mut().filter(|_| file.is_file()) {
            room.unnamed(file.identity.inode);
        }
    }

    /// Where the next record will stand. The log may have other writers (a child process), so its
    /// length is asked for, not counted.
    pub(crate) fn position(&self) -> u64 {
        Status::of_descriptor(self.log_fd).map_or(0, |status| status.length)
    }

    pub(crate) fn sync_delay(&self) -> Duration {
        self.sync_delay
    }

    pub(crate) fn record(&self, step: &Step) {
        let record = step.encode();
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            // SAFETY: the buffer lives until the call returns.
            let written = unsafe { real::write(self.log_fd, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) => rest = &rest[written..],
                Err(_) => die("the undo log can't be written"),
            }
        }
    }

    /// Begins to watch what `fd` was opened on.
    pub(crate) fn add_file(&mut self, fd: c_int) {
        if let Some(status) = Status::of_descriptor(fd).filter(Status::is_file) {
            self.files.insert(status.identity);
        }
    }

    /// The file behind `fd`, if it is watched.
    pub(crate) fn file(&self, fd: c_int) -> Option<Status> {
        Status::of_descriptor(fd).filter(|status| self.files.contains(&status.identity))
    }

    /// The directory behind `fd`, if it is watched.
    pub(crate) fn directory(&self, fd: c_int) -> Option<PathBuf> {
        let status = Status::of_descriptor(fd)?;
        self.directories.path_of(status.identity).map(Path::to_owned)
    }

    /// Whether it is a directory or file that is watched.
    pub(crate) fn holds(&self, place: &Status) -> bool {
        let is_file = self.files.contains(&place.identity);
        is_file || self.directories.path_of(place.identity).is_some()
    }

    /// Records that `span` bytes at `offset` of the file are about to change, or its length.
    pub(crate) fn bytes_change(&mut self, fd: c_int, file: &Status, offset: u64, span: u64) {
        let (inode, length_before) = (file.identity.inode, file.length);
        let covered = length_before.min(offset.saturating_add(span)).saturating_sub(offset);
        let old = if covered == 0 { Vec::new() } else { self.read(fd, inode, offset, covered) };
        self.record(&Step::Bytes { inode, offset, span, length_before, old });
    }

    fn read(&mut self, fd: c_int, inode: u64, offset: u64, length: u64) -> Vec<u8> {
        let reader = *self.readers.entry(inode).or_insert_with(|| open_to_read(fd));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_else(|_| die("a length"))];
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            let place = libc::off_t::try_from(offset + filled as u64).unwrap_or(libc::off_t::MAX);
            // SAFETY: the buffer lives until the call returns.
            let read = unsafe { real::pread(reader, rest.as_mut_ptr().cast(), rest.len(), place) };
            match usize::try_from(read) {
                Ok(read) if read > 0 => filled += read,
                _ => die("old bytes can't be read"),
            }
        }
        bytes
    }

    /// Records that names are about to change, all at once. Files that lose a name are kept.
    pub(crate) fn names_change(&mut self, paths: &[PathBuf]) {
        let changes = paths
            .iter()
            .map(|path| {
                let before = Status::before(self.status(path).as_ref());
                if matches!(before, Before::File(_)) {
                    self.bury(path);
                }
                Change { path: path.clone(), before }
            })
            .collect();
        self.record(&Step::Names(changes));
    }

    /// What a name below the topmost directory stands for.
    pub(crate) fn status(&self, path: &Path) -> Option<Status> {
        Status::of_name(libc::AT_FDCWD, &c_string(&self.root.join(path)))
    }

    /// Gives a file a second name in the graveyard, from where it can come back.
    fn bury(&mut self, path: &Path) {
        self.buried += 1;
        let grave = self.graveyard.join(format!("{}-{}", std::process::id(), self.buried));
        let (from, to) = (c_string(&self.root.join(path)), c_string(&grave));
        let here = libc::AT_FDCWD;
        // SAFETY: both paths are C strings.
        if unsafe { real::linkat(here, from.as_ptr(), here, to.as_ptr(), 0) } != 0 {
            die("a file that loses its name can't be kept in the graveyard");
        }
    }
}

/// The same file opened for reading: the caller may have opened it for writing only.
fn open_to_read(fd: c_int) -> c_int {
    let path = CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let reader = unsafe { real::openat(libc::AT_FDCWD, path.as_ptr(), flags, 0) };
    if reader < 0 {
        die("a written file can't be opened for reading");
    }
    reader
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_else(|_| die("a path with a zero byte"))
}

/// A path as the C library got it.
///
/// # Safety
/// `path` must be a C string that lives as long as the result is used, or null.
pub(crate) unsafe fn c_path<'path>(path: *const std::ffi::c_char) -> Option<&'path CStr> {
    // SAFETY: the caller's promise.
    (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
}
