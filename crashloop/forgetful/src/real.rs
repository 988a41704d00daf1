//! The C library's own functions, found behind ours. Everything in this crate that touches a file
//! goes through here: calling `libc` directly would come back to us.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use libc::{iovec, loff_t, mode_t, off_t, size_t, ssize_t};

/// Finds the next definition of a function after ours. The process can't go on without it.
fn find(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a C string, and RTLD_NEXT is made for exactly this.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() {
        die("a function of the C library is missing");
    }
    found
}

macro_rules! real {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        pub(crate) unsafe fn $name($($arg: $type),*) -> $result {
            static FOUND: OnceLock<usize> = OnceLock::new();
            const NAME: &CStr = match CStr::from_bytes_with_nul(
                concat!(stringify!($name), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            };
            let found = *FOUND.get_or_init(|| find(NAME).expose_provenance());
            // SAFETY: the C library declares the function with these types; the caller keeps
            // whatever the function asks of its arguments.
            unsafe {
                let function: unsafe extern "C" fn($($type),*) -> $result =
                    std::mem::transmute(std::ptr::with_exposed_provenance::<c_void>(found));
                function($($arg),*)
            }
        }
    )*};
}

real! {
    openat(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    close(fd: c_int) -> c_int;
    write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t;
    writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    pwrite(fd: c_int, bytes: *const c_void, count: size_t, offset: off_t) -> ssize_t;
    pwritev(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) -> ssize_t;
    pwritev2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t;
    pread(fd: c_int, bytes: *mut c_void, count: size_t, offset: off_t) -> ssize_t;
    ftruncate(fd: c_int, length: off_t) -> c_int;
    fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int;
    posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int;
    fsync(fd: c_int) -> c_int;
    fdatasync(fd: c_int) -> c_int;
    syncfs(fd: c_int) -> c_int;
    sync_file_range(fd: c_int, offset: loff_t, length: loff_t, flags: c_uint) -> c_int;
    renameat2(
        from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint
    ) -> c_int;
    unlinkat(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int;
    linkat(
        from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int
    ) -> c_int;
    statvfs64(path: *const c_char, status: *mut libc::statvfs64) -> c_int;
    fstatvfs64(fd: c_int, status: *mut libc::statvfs64) -> c_int;
    mkdirat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int;
}

/// Says why and aborts. A watch that is not complete proves nothing, so it must not go on.
pub(crate) fn die(why: &str) -> ! {
    let line = format!("forgetful: {why}: {}\n", std::io::Error::last_os_error());
    // SAFETY: a raw system call on a buffer that lives until it returns.
    unsafe { libc::syscall(libc::SYS_write, 2, line.as_ptr(), line.len()) };
    std::process::abort()
}

/// `errno` as the caller left it, put back when this goes: our own calls must not change it.
#[derive(Debug)]
pub(crate) struct Errno(c_int);

impl Errno {
    /// What a call that fails leaves behind.
    pub(crate) fn set(number: c_int) {
        // SAFETY: the location is this thread's own and always valid.
        unsafe { *libc::__errno_location() = number };
    }

    pub(crate) fn keep() -> Self {
        // SAFETY: the location is this thread's own and always valid.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.0 };
    }
}
