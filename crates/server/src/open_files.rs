//! Each connection is an open file, and systems allow a thousand or so unless asked for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many open files as this process may have, and says how many that is.
pub(crate) fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What it has is enough to start with; a connection too many is refused and logged.
    match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}
