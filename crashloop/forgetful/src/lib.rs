//! Preloaded into the broker (`LD_PRELOAD`), this library stands between it and the C library and
//! writes down, before every change of a file or a name below one directory, how to take it back.
//! After a kill -9 the crate `powerloss` applies that log, and what no sync covered is gone.
//!
//! It watches `FORGETFUL_DIR` and writes to `FORGETFUL_LOG`, which must lie outside of it on the same
//! file system. Without these two it does nothing. `FORGETFUL_SYNC_DELAY_US` makes every sync
//! slower, so that a kill finds more of them unfinished. `FORGETFUL_DISK` makes the disk small, or
//! lets it fail: see `room`.
//!
//! Not seen: system calls made without the C library, and writes through shared mappings. A change
//! that escapes this way is found afterwards by `powerloss::audit`.

#![expect(unsafe_code, reason = "replaces functions of the C library, which take raw pointers")]

mod calls;

mod watch;

mod room;

mod place;

mod real;
