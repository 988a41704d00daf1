//! Unsigned integers in as few bytes as they need: LEB128, seven bits a byte, low bits first.

use crate::reader::{Reader, Truncated};

/// Appends `value`, one to ten bytes.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low seven bits are what is meant"
        )]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80 here")]
    out.push(value as u8);
}

/// Reads one value; an overlong or unfinished one counts as truncated.
pub fn take(reader: &mut Reader<'_>) -> Result<u64, Truncated> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Truncated);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        for value in [0, 1, 127, 128, 300, 1 << 32, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(take(&mut Reader::new(&bytes)), Ok(value));
            for cut in 0..bytes.len() {
                assert_eq!(
                    take(&mut Reader::new(&bytes[..cut])),
                    Err(Truncated),
                    "{value} at {cut}"
                );
            }
        }
        assert_eq!(take(&mut Reader::new(&[0xff; 11])), Err(Truncated));
    }
}
