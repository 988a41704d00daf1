//! How much room there is: on a small disk, what is left of that.

use std::ffi::{c_char, c_int};

use libc::statvfs64 as Figures;

use crate::place::Status;
use crate::real::{self, Errno};
use crate::room::Room;
use crate::watch::{c_path, watch};

/// Puts the small disk's figures in the place of the real one's.
///
/// # Safety
/// `status` must point to what the C library has just filled.
unsafe fn narrow(place: Option<Status>, status: *mut Figures) {
    let _errno = Errno::keep();
    let (Some(place), Some(mut watch)) = (place, watch()) else { return };
    if !watch.holds(&place) {
        return;
    }
    let Some((capacity, free)) = watch.room.as_mut().and_then(Room::bound) else { return };
    // SAFETY: the caller's promise.
    let status = unsafe { &mut *status };
    let block_bytes = status.f_frsize.max(1);
    status.f_blocks = capacity / block_bytes;
    status.f_bfree = free / block_bytes;
    status.f_bavail = status.f_bfree;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn statvfs64(path: *const c_char, status: *mut Figures) -> c_int {
    // SAFETY: passed on as it came, and used only if that went well.
    unsafe {
        let result = real::statvfs64(path, status);
        if let (0, Some(name)) = (result, c_path(path)) {
            narrow(Status::of_name(libc::AT_FDCWD, name), status);
        }
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn statvfs(path: *const c_char, status: *mut Figures) -> c_int {
    // SAFETY: passed on as it came; on 64-bit machines the two are the same.
    unsafe { statvfs64(path, status) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fstatvfs64(fd: c_int, status: *mut Figures) -> c_int {
    // SAFETY: passed on as it came, and used only if that went well.
    unsafe {
        let result = real::fstatvfs64(fd, status);
        if result == 0 {
            narrow(Status::of_descriptor(fd), status);
        }
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fstatvfs(fd: c_int, status: *mut Figures) -> c_int {
    // SAFETY: as above.
    unsafe { fstatvfs64(fd, status) }
}
