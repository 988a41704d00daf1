//! When the broker's own certificate ends: whoever reads certificates says it, health checks look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of the first of the broker's certificates to end.
#[derive(Clone, Debug, Default)]
pub struct CertificateEnd(Arc<AtomicU64>);

impl CertificateEnd {
    /// It is then, in seconds since 1970.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// In seconds since 1970; `None`: there is no certificate, or none that says.
    pub fn seconds(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }
}
