//! Where a panic would leave a state that nobody knows, the process ends instead: what is on disk is
//! whole, and recovery starts from there. Going on could lose or double what was promised.

/// Ends the process if it is dropped by a panic.
#[derive(Debug)]
pub struct AbortOnPanic {
    /// What was being done, for the last line on standard error.
    doing: &'static str,
}

impl AbortOnPanic {
    /// Until this is dropped, a panic on this thread ends the process.
    pub fn while_doing(doing: &'static str) -> AbortOnPanic {
        AbortOnPanic { doing }
    }
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "panicked while {}: ending the process, so that nothing half done goes on",
                self.doing
            );
            std::process::abort();
        }
    }
}
