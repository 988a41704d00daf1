//! Memory that messages took and need no longer goes back to the system: the allocator keeps what was
//! freed in pieces, for ever, unless it is told.

use broker::MessagesMemory;

/// Less than this is not worth the work, in bytes.
const WORTH_BYTES: u64 = 32 << 20;

/// Watches what messages take.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// The most that messages took since the last time.
    peak_bytes: u64,
}

impl Heap {
    /// Whether messages take so much less than before that memory should go back now.
    pub(crate) fn is_to_shrink(&mut self, memory: MessagesMemory) -> bool {
        self.peak_bytes = self.peak_bytes.max(memory.used_bytes);
        let shrinks = self.peak_bytes >= WORTH_BYTES && memory.used_bytes < self.peak_bytes / 4;
        if shrinks {
            self.peak_bytes = memory.used_bytes;
        }
        shrinks
    }
}

/// Gives everything back that is free. Takes some milliseconds per hundred megabytes.
pub(crate) fn shrink() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "the C library's function; it takes a number and no pointer"
        )]
        // SAFETY: malloc_trim may be called at any time from any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_once_after_a_peak() {
        let mut heap = Heap::default();
        let mut seen = Vec::new();
        for used_mib in [0, 10, 0, 100, 60, 26, 24, 10, 31, 4, 200, 49] {
            let memory = MessagesMemory { used_bytes: used_mib << 20, max_bytes: 1 << 30 };
            if heap.is_to_shrink(memory) {
                seen.push(used_mib);
            }
        }
        assert_eq!(seen, [24, 49]);
    }
}
