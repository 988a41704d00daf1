//! Names that the broker makes up: `amq.gen-…` for queues, `amq.ctag-…` for consumers, addresses of
//! direct replies.

use domain::name::Name;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `prefix` and 22 random letters: 132 bits, too many to meet by chance.
pub(crate) fn make(prefix: &str, entropy: &mut impl FnMut() -> u64) -> Name {
    let mut text = String::from(prefix);
    for _ in 0..2 {
        let mut bits = entropy();
        for _ in 0..11 {
            let letter = LETTERS[usize::try_from(bits & 63).unwrap_or(0)];
            text.push(char::from(letter));
            bits = bits.rotate_right(6);
        }
    }
    Name::new(&text).unwrap_or_else(|_too_long| unreachable!("a prefix and 22 letters are short"))
}
