//! What each message body carries: 8 bytes send time (ns since the epoch) and
//! 8 bytes id (publisher in the top 16 bits, sequence below), then a fixed fill.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const HEAD: usize = 16;
pub(crate) const SEQ_BITS: u32 = 48;
pub(crate) const SEQ_MASK: u64 = (1 << SEQ_BITS) - 1;

#[inline]
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[inline]
pub(crate) fn id(publisher: usize, seq: u64) -> u64 {
    ((publisher as u64) << SEQ_BITS) | (seq & SEQ_MASK)
}

/// Fill of a body of `len` bytes; the first `HEAD` bytes are overwritten.
pub(crate) fn template(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(7)).collect()
}

#[inline]
pub(crate) fn write_head(body: &mut [u8], at_ns: u64, id: u64) {
    body[..8].copy_from_slice(&at_ns.to_be_bytes());
    body[8..HEAD].copy_from_slice(&id.to_be_bytes());
}

#[inline]
pub(crate) fn read_head(body: &[u8]) -> Option<(u64, u64)> {
    let (at_ns, rest) = body.split_first_chunk()?;
    let (id, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*at_ns), u64::from_be_bytes(*id)))
}

/// Mixer for the order-independent checksum of ids (splitmix64).
#[inline]
pub(crate) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
