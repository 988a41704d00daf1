//! Creating, renaming, linking and removing: whatever changes names or finds a file by its name.

use std::ffi::{c_char, c_int, c_uint};

use libc::{AT_FDCWD, mode_t, off_t};
use powerloss::Step;

use super::bytes::ftruncate;
use crate::place::Status;
use crate::real::{self, Errno};
use crate::watch::{c_path, watch};

/// There is no room for another name.
fn no_space() -> c_int {
    Errno::set(libc::ENOSPC);
    -1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat(
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's promise to the C function, here and below.
    let Some(name) = (unsafe { c_path(path) }).filter(|_| flags & libc::O_PATH == 0) else {
        return unsafe { real::openat(dirfd, path, flags, mode) };
    };
    let Some(mut watch) = watch() else {
        return unsafe { real::openat(dirfd, path, flags, mode) };
    };
    let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let Some(place) = watch.directories.place_of(dirfd, name) else {
        return unsafe { real::openat(dirfd, path, flags, mode) };
    };
    let is_new = !unnamed && flags & libc::O_CREAT != 0 && watch.status(&place).is_none();
    if is_new {
        if !watch.allows_name() {
            return no_space();
        }
        watch.names_change(&[place]);
    }
    // Cutting the file off is a change of its own, done below.
    let fd = unsafe { real::openat(dirfd, path, flags & !libc::O_TRUNC, mode) };
    if fd < 0 {
        return fd;
    }
    let _errno = Errno::keep();
    watch.add_file(fd);
    if let Some(file) = Status::of_descriptor(fd).filter(|_| is_new) {
        watch.named(&file);
    }
    drop(watch);
    if flags & libc::O_TRUNC != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY {
        unsafe { ftruncate(fd, 0) };
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { openat(dirfd, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { openat(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { openat(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: passed on as it came; this form never creates, so it has no mode.
    unsafe { openat(AT_FDCWD, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { openat(AT_FDCWD, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __openat_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { openat(dirfd, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __openat64_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { openat(dirfd, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn creat(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { openat(AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn creat64(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { creat(path, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn truncate(path: *const c_char, length: off_t) -> c_int {
    // SAFETY: the path is passed on as it came; the descriptor is ours and closed once.
    unsafe {
        let fd = openat(libc::AT_FDCWD, path, libc::O_WRONLY | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return -1;
        }
        let result = ftruncate(fd, length);
        let _errno = Errno::keep();
        real::close(fd);
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn truncate64(path: *const c_char, length: off_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { truncate(path, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { renameat2(from_dir, from, to_dir, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat2(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller's promise to the C function.
    let (names, guard) = unsafe { ((c_path(from), c_path(to)), watch()) };
    let ((Some(from_name), Some(to_name)), Some(mut watch)) = (names, guard) else {
        // SAFETY: passed on as it came.
        return unsafe { real::renameat2(from_dir, from, to_dir, to, flags) };
    };
    let from_place = watch.directories.place_of(from_dir, from_name);
    let to_place = watch.directories.place_of(to_dir, to_name);
    if (from_place.is_some() || to_place.is_some()) && !watch.allows_name() {
        return no_space();
    }
    let replaced = to_place.as_ref().and_then(|place| watch.status(place));
    let mut moved_directory = None;
    match (from_place, to_place) {
        (Some(from), Some(to)) => {
            if watch.status(&from).is_some_and(|status| status.is_directory()) {
                if watch.status(&to).is_some() {
                    watch.names_change(std::slice::from_ref(&to));
                }
                watch.record(&Step::MovedDirectory { from: from.clone(), to: to.clone() });
                moved_directory = Some((from, to));
            } else if from.parent() == to.parent() {
                // In one directory both names change at once, on every file system.
                watch.names_change(&[from, to]);
            } else {
                watch.names_change(&[from]);
                watch.names_change(&[to]);
            }
        }
        (Some(place), None) | (None, Some(place)) => watch.names_change(&[place]),
        (None, None) => {}
    }
    // SAFETY: passed on as it came.
    let result = unsafe { real::renameat2(from_dir, from, to_dir, to, flags) };
    if let (0, Some(replaced)) = (result, replaced) {
        watch.unnamed(&replaced);
    }
    if let (0, Some((from, to))) = (result, moved_directory) {
        watch.directories.rename(&from, &to);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { unlinkat(AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn remove(path: *const c_char) -> c_int {
    // SAFETY: passed on as it came; errno tells which of the two it is.
    unsafe {
        let result = unlink(path);
        if result != 0 && *libc::__errno_location() == libc::EISDIR { rmdir(path) } else { result }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise to the C function.
    let (name, guard) = unsafe { (c_path(path), watch()) };
    let (Some(name), Some(mut watch)) = (name, guard) else {
        // SAFETY: passed on as it came.
        return unsafe { real::unlinkat(dirfd, path, flags) };
    };
    let place = watch.directories.place_of(dirfd, name);
    let status = place.as_ref().and_then(|place| watch.status(place));
    let removes_directory = flags & libc::AT_REMOVEDIR != 0;
    if let (Some(place), Some(status)) = (place, status)
        && status.is_directory() == removes_directory
    {
        watch.names_change(&[place]);
    }
    // SAFETY: passed on as it came.
    let result = unsafe { real::unlinkat(dirfd, path, flags) };
    if let (0, Some(status)) = (result, status) {
        watch.directories.remove(status.identity);
        watch.unnamed(&status);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promise to the C function.
    let (name, guard) = unsafe { (c_path(to), watch()) };
    let place = guard
        .as_ref()
        .and_then(|watch| watch.directories.place_of(to_dir, name?))
        .filter(|place| guard.as_ref().is_some_and(|watch| watch.status(place).is_none()));
    let (Some(mut watch), Some(place)) = (guard, place) else {
        // SAFETY: passed on as it came.
        return unsafe { real::linkat(from_dir, from, to_dir, to, flags) };
    };
    if !watch.allows_name() {
        return no_space();
    }
    watch.names_change(std::slice::from_ref(&place));
    // SAFETY: passed on as it came.
    let result = unsafe { real::linkat(from_dir, from, to_dir, to, flags) };
    if let (0, Some(file)) = (result, watch.status(&place)) {
        let _errno = Errno::keep();
        watch.named(&file);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { mkdirat(AT_FDCWD, path, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdirat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise to the C function.
    let (name, guard) = unsafe { (c_path(path), watch()) };
    let (Some(name), Some(mut watch)) = (name, guard) else {
        // SAFETY: passed on as it came.
        return unsafe { real::mkdirat(dirfd, path, mode) };
    };
    let place =
        watch.directories.place_of(dirfd, name).filter(|place| watch.status(place).is_none());
    if let Some(place) = &place {
        if !watch.allows_name() {
            return no_space();
        }
        watch.names_change(std::slice::from_ref(place));
    }
    // SAFETY: passed on as it came.
    let result = unsafe { real::mkdirat(dirfd, path, mode) };
    if let (0, Some(place)) = (result, place) {
        let _errno = Errno::keep();
        if let Some(status) = Status::of_name(dirfd, name) {
            watch.directories.add(status.identity, place);
        }
    }
    result
}
