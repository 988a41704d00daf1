//! Syncs: what makes bytes and names durable. What was recorded before a sync began is kept once it
//! has returned, and only then.

use std::ffi::{c_int, c_uint};
use std::thread::sleep;

use libc::loff_t;
use powerloss::Step;

use crate::real::{self, Errno};
use crate::watch::watch;

/// Syncs outside the lock, as others write on meanwhile, and records the step that it earned.
fn synced(kept: Option<Step>, real: impl FnOnce() -> c_int) -> c_int {
    let Some(step) = kept else { return real() };
    if matches!(step, Step::SyncedBytes { .. }) && watch().is_some_and(|mut it| it.fails_sync()) {
        Errno::set(libc::EIO);
        return -1;
    }
    if let Some(delay) = watch().map(|watch| watch.sync_delay()) {
        sleep(delay);
    }
    let result = real();
    if result == 0
        && let Some(watch) = watch()
    {
        let _errno = Errno::keep();
        watch.record(&step);
    }
    result
}

/// What a sync of `fd` will keep, as things stand now.
fn kept_by(fd: c_int) -> Option<Step> {
    let watch = watch()?;
    let up_to = watch.position();
    if let Some(file) = watch.file(fd) {
        return Some(Step::SyncedBytes { inode: file.identity.inode, up_to });
    }
    watch.directory(fd).map(|directory| Step::SyncedNames { directory, up_to })
}

fn all_kept() -> Option<Step> {
    watch().map(|watch| Step::SyncedAll { up_to: watch.position() })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: passed on as it came.
    synced(kept_by(fd), || unsafe { real::fsync(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: passed on as it came.
    synced(kept_by(fd), || unsafe { real::fdatasync(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn syncfs(fd: c_int) -> c_int {
    // SAFETY: passed on as it came.
    synced(all_kept(), || unsafe { real::syncfs(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sync() {
    synced(all_kept(), || {
        // SAFETY: a system call without arguments.
        unsafe { libc::syscall(libc::SYS_sync) };
        0
    });
}

/// Starts writing pages out but flushes no disk cache and no length: it keeps nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(
    fd: c_int,
    offset: loff_t,
    length: loff_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { real::sync_file_range(fd, offset, length, flags) }
}
