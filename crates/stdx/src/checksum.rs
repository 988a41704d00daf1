//! The checksum of stored bytes: XXH3, 64 bits, seed 0. Detects damage, not tampering.

use xxhash_rust::xxh3::Xxh3Default;

/// The checksum of one contiguous piece of bytes.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The checksum of bytes that arrive in pieces; equals [`checksum`] of their concatenation.
#[derive(Clone, Default)]
pub struct Checksum(Xxh3Default);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:016x})", self.0.digest())
    }
}

impl Checksum {
    /// Of nothing yet.
    pub fn new() -> Checksum {
        Checksum::default()
    }

    /// Appends a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything appended.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_equal_the_whole() {
        let bytes: Vec<u8> = (0..5_000u32).map(|i| i.to_le_bytes()[0]).collect();
        for cut in [0, 1, 63, 64, 1_024, 4_999, 5_000] {
            let mut pieces = Checksum::new();
            pieces.update(&bytes[..cut]);
            pieces.update(&bytes[cut..]);
            assert_eq!(pieces.finish(), checksum(&bytes), "cut at {cut}");
        }
    }
}
