//! Writes, and whatever else changes a file's bytes or length.

use std::ffi::{c_int, c_void};
use std::sync::MutexGuard;

use libc::{iovec, off_t, size_t, ssize_t};
use powerloss::Step;

use crate::place::Status;
use crate::real::{self, Errno};
use crate::watch::{Watch, watch};

/// Where a write begins.
#[derive(Clone, Copy)]
enum At {
    Cursor,
    Offset(off_t),
    End,
}

/// Whether a single write asks to be durable when it returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    AsOpened,
    Always,
}

/// Most writes of a broker go to sockets; those must not wait for the lock.
fn watched(fd: c_int) -> Option<(MutexGuard<'static, Watch>, Status)> {
    Status::of_descriptor(fd).filter(Status::is_file)?;
    let watch = watch()?;
    // Asked again under the lock: the length may have changed.
    let file = watch.file(fd)?;
    Some((watch, file))
}

fn written(
    fd: c_int,
    at: At,
    span: u64,
    durable: Durable,
    real: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let Some((mut watch, file)) = watched(fd) else { return real() };
    // SAFETY: plain questions about a descriptor.
    let (flags, cursor) =
        unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::lseek(fd, 0, libc::SEEK_CUR)) };
    let offset = match at {
        _ if flags & libc::O_APPEND != 0 => file.length,
        At::End => file.length,
        At::Cursor => u64::try_from(cursor).unwrap_or(0),
        At::Offset(offset) => u64::try_from(offset).unwrap_or(0),
    };
    watch.bytes_change(fd, &file, offset, span);
    let result = real();
    if result >= 0 && (durable == Durable::Always || flags & libc::O_DSYNC != 0) {
        let _errno = Errno::keep();
        let up_to = watch.position();
        watch.record(&Step::SyncedBytes { inode: file.identity.inode, up_to });
    }
    result
}

/// How many bytes a vectored write carries.
///
/// # Safety
/// `parts` must point to `count` parts, as the caller of the C function promises.
unsafe fn bytes_in(parts: *const iovec, count: c_int) -> u64 {
    let count = usize::try_from(count).unwrap_or(0);
    if parts.is_null() || count == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    parts.iter().map(|part| part.iov_len as u64).sum()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: passed on as it came.
    written(fd, At::Cursor, count as u64, Durable::AsOpened, || unsafe {
        real::write(fd, bytes, count)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's promise to the C function.
    let span = unsafe { bytes_in(parts, count) };
    // SAFETY: passed on as it came.
    written(fd, At::Cursor, span, Durable::AsOpened, || unsafe { real::writev(fd, parts, count) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: passed on as it came.
    written(fd, At::Offset(offset), count as u64, Durable::AsOpened, || unsafe {
        real::pwrite(fd, bytes, count, offset)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: passed on as it came.
    unsafe { pwrite(fd, bytes, count, offset) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's promise to the C function.
    let span = unsafe { bytes_in(parts, count) };
    // SAFETY: passed on as it came.
    written(fd, At::Offset(offset), span, Durable::AsOpened, || unsafe {
        real::pwritev(fd, parts, count, offset)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // SAFETY: passed on as it came.
    unsafe { pwritev(fd, parts, count, offset) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev2(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's promise to the C function.
    let span = unsafe { bytes_in(parts, count) };
    let at = match offset {
        _ if flags & libc::RWF_APPEND != 0 => At::End,
        -1 => At::Cursor,
        offset => At::Offset(offset),
    };
    let durable = match flags & (libc::RWF_DSYNC | libc::RWF_SYNC) {
        0 => Durable::AsOpened,
        _ => Durable::Always,
    };
    // SAFETY: passed on as it came.
    written(fd, at, span, durable, || unsafe { real::pwritev2(fd, parts, count, offset, flags) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64v2(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: passed on as it came.
    unsafe { pwritev2(fd, parts, count, offset, flags) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    let guard = watched(fd).map(|(mut watch, file)| {
        let length = u64::try_from(length).unwrap_or(0).min(file.length);
        watch.bytes_change(fd, &file, length, file.length - length);
        watch
    });
    // SAFETY: passed on as it came.
    let result = unsafe { real::ftruncate(fd, length) };
    drop(guard);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { ftruncate(fd, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    let Some((mut watch, file)) = watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { real::fallocate(fd, mode, offset, length) };
    };
    let shifts = libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE;
    if mode & shifts != 0 {
        // Such a shift has no place in the log; callers must cope with file systems without it.
        // SAFETY: the location is this thread's own and always valid.
        unsafe { *libc::__errno_location() = libc::EOPNOTSUPP };
        return -1;
    }
    let zeroes = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
    let (start, span) = match (u64::try_from(offset), u64::try_from(length)) {
        (Ok(offset), Ok(length)) if mode & zeroes != 0 => (offset, length),
        _ => (file.length, 0),
    };
    watch.bytes_change(fd, &file, start, span);
    // SAFETY: passed on as it came.
    unsafe { real::fallocate(fd, mode, offset, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { fallocate(fd, mode, offset, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int {
    let guard = watched(fd).map(|(mut watch, file)| {
        watch.bytes_change(fd, &file, file.length, 0);
        watch
    });
    // SAFETY: passed on as it came.
    let result = unsafe { real::posix_fallocate(fd, offset, length) };
    drop(guard);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_fallocate64(fd: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { posix_fallocate(fd, offset, length) }
}
