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
    real: impl FnOnce(u64) -> ssize_t,
) -> ssize_t {
    let Some((mut watch, file)) = watched(fd) else { return real(span) };
    // SAFETY: plain questions about a descriptor.
    let (flags, cursor) =
        unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::lseek(fd, 0, libc::SEEK_CUR)) };
    let offset = match at {
        _ if flags & libc::O_APPEND != 0 => file.length,
        At::End => file.length,
        At::Cursor => u64::try_from(cursor).unwrap_or(0),
        At::Offset(offset) => u64::try_from(offset).unwrap_or(0),
    };
    let span = match watch.allow(&file, offset, span) {
        Ok(span) => span,
        Err(number) => {
            Errno::set(number);
            return -1;
        }
    };
    watch.bytes_change(fd, &file, offset, span);
    let result = real(span);
    watch.measure(fd);
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

/// As many of the parts as `span` bytes are, the last one cut off.
///
/// # Safety
/// As for [`bytes_in`].
unsafe fn parts_of(parts: *const iovec, count: c_int, mut span: u64) -> Vec<iovec> {
    let count = usize::try_from(count).unwrap_or(0);
    if parts.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    let mut fitting = Vec::with_capacity(count);
    for part in parts {
        let length = (part.iov_len as u64).min(span);
        span -= length;
        let iov_len = usize::try_from(length).unwrap_or(part.iov_len);
        fitting.push(iovec { iov_base: part.iov_base, iov_len });
    }
    fitting
}

/// A length that was a `usize` before, or a part of one.
fn size(span: u64) -> size_t {
    size_t::try_from(span).unwrap_or(size_t::MAX)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: passed on as it came.
    written(fd, At::Cursor, count as u64, Durable::AsOpened, |span| unsafe {
        real::write(fd, bytes, size(span))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's promise to the C function.
    let span = unsafe { bytes_in(parts, count) };
    // SAFETY: passed on as it came.
    written(fd, At::Cursor, span, Durable::AsOpened, |span| unsafe {
        real::writev(fd, parts_of(parts, count, span).as_ptr(), count)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: passed on as it came.
    written(fd, At::Offset(offset), count as u64, Durable::AsOpened, |span| unsafe {
        real::pwrite(fd, bytes, size(span), offset)
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
    written(fd, At::Offset(offset), span, Durable::AsOpened, |span| unsafe {
        real::pwritev(fd, parts_of(parts, count, span).as_ptr(), count, offset)
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
    written(fd, at, span, durable, |span| unsafe {
        real::pwritev2(fd, parts_of(parts, count, span).as_ptr(), count, offset, flags)
    })
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
    if let Some(mut watch) = guard {
        watch.measure(fd);
    }
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
        Errno::set(libc::EOPNOTSUPP);
        return -1;
    }
    let zeroes = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
    let (start, span) = match (u64::try_from(offset), u64::try_from(length)) {
        (Ok(offset), Ok(length)) if mode & zeroes != 0 => (offset, length),
        _ => (file.length, 0),
    };
    if mode == 0
        && let Err(number) = allow_all(&mut watch, &file, offset, length)
    {
        Errno::set(number);
        return -1;
    }
    watch.bytes_change(fd, &file, start, span);
    // SAFETY: passed on as it came.
    let result = unsafe { real::fallocate(fd, mode, offset, length) };
    watch.measure(fd);
    result
}

/// Whether a whole span may be set aside; the error's number if not.
fn allow_all(watch: &mut Watch, file: &Status, offset: off_t, length: off_t) -> Result<(), c_int> {
    let (Ok(offset), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
        return Ok(());
    };
    let allowed = watch.allow(file, offset, length)?;
    if allowed < length { Err(libc::ENOSPC) } else { Ok(()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { fallocate(fd, mode, offset, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int {
    let Some((mut watch, file)) = watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { real::posix_fallocate(fd, offset, length) };
    };
    if let Err(number) = allow_all(&mut watch, &file, offset, length) {
        return number;
    }
    watch.bytes_change(fd, &file, file.length, 0);
    // SAFETY: passed on as it came.
    let result = unsafe { real::posix_fallocate(fd, offset, length) };
    watch.measure(fd);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_fallocate64(fd: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { posix_fallocate(fd, offset, length) }
}
