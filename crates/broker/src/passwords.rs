//! Password hashes: ours are argon2id; those that RabbitMQ exports (four bytes of salt, then a
//! digest of salt and password) are understood, so that its users can log in.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};
use stdx::reader::{Reader, Truncated};
use subtle::ConstantTimeEq as _;

/// Memory of one argon2id hash (a recommendation of OWASP, with one pass of one lane). More than the
/// 32 MiB up to which allocators like to keep what was freed: an idle broker should be small again.
const MEMORY_KIB: u32 = 46 * 1024;
const PASSES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The most memory that a stored hash may ask for.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// The salt of RabbitMQ's hashes.
const RABBITMQ_SALT_BYTES: usize = 4;

/// What a password is checked against. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// No password is right.
    Nothing,
    Argon2id {
        memory_kib: u32,
        passes: u32,
        salt: Box<[u8]>,
        hash: Box<[u8]>,
    },
    Imported(Digest, Box<[u8]>),
}

/// A digest that RabbitMQ may have been set up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha512,
    Md5,
}

/// RabbitMQ's names of its hashing modules.
const ALGORITHMS: [(&str, Digest); 3] = [
    ("rabbit_password_hashing_sha256", Digest::Sha256),
    ("rabbit_password_hashing_sha512", Digest::Sha512),
    ("rabbit_password_hashing_md5", Digest::Md5),
];

/// The name of our hashing, beside those of RabbitMQ's modules.
const OURS: &str = "postroom_argon2id";

/// Why an imported hash can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// A hashing module nobody knows.
    #[error(
        "the hashing algorithm is none of rabbit_password_hashing_sha256, \
         rabbit_password_hashing_sha512, rabbit_password_hashing_md5, postroom_argon2id"
    )]
    UnknownAlgorithm,
    /// No base64.
    #[error("the password hash is not base64")]
    NotBase64,
    /// Another length than the algorithm has.
    #[error("the password hash has another length than its algorithm makes")]
    WrongLength,
}

/// The system gave no random salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password can't be hashed: the system gives no memory or no random numbers")]
pub struct HashFailed;

/// Whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Right,
    /// Right, and the hash should be replaced by one of ours.
    RightUntilNow,
    Wrong,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Nobody gets in with a password.
    pub fn nothing() -> PasswordHash {
        PasswordHash(Kind::Nothing)
    }

    /// Takes as long as one of ours to say that no password is right.
    pub(crate) fn stand_in() -> PasswordHash {
        PasswordHash(Kind::Argon2id {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: [0; SALT_BYTES].into(),
            hash: [0; HASH_BYTES].into(),
        })
    }

    /// Hashes a password; takes tens of milliseconds.
    pub fn of(password: &[u8]) -> Result<PasswordHash, HashFailed> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_unavailable| HashFailed)?;
        let hash = argon2id(password, &salt, MEMORY_KIB, PASSES).ok_or(HashFailed)?;
        Ok(PasswordHash(Kind::Argon2id {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: salt.into(),
            hash: hash.into(),
        }))
    }

    /// A hash as RabbitMQ exports it: base64, and the name of its hashing module. An empty one
    /// stands for a user without a password.
    pub fn import(hash: &str, algorithm: &str) -> Result<PasswordHash, HashError> {
        if hash.is_empty() {
            return Ok(PasswordHash::nothing());
        }
        let decode = || BASE64.decode(hash).map_err(|_invalid| HashError::NotBase64);
        if algorithm == OURS {
            let found = PasswordHash::from_bytes(&decode()?);
            return found.map_err(|Truncated| HashError::WrongLength);
        }
        let found = ALGORITHMS.iter().find(|(name, _)| *name == algorithm);
        let (_, digest) = found.ok_or(HashError::UnknownAlgorithm)?;
        let bytes = decode()?;
        if bytes.len() != RABBITMQ_SALT_BYTES + digest.len() {
            return Err(HashError::WrongLength);
        }
        Ok(PasswordHash(Kind::Imported(*digest, bytes.into())))
    }

    /// The hash as [`PasswordHash::import`] takes it, and the name of its hashing.
    pub fn export(&self) -> (String, &'static str) {
        match &self.0 {
            Kind::Nothing => (String::new(), ALGORITHMS[0].0),
            Kind::Argon2id { .. } => (BASE64.encode(self.to_bytes()), OURS),
            Kind::Imported(digest, bytes) => {
                let found = ALGORITHMS.iter().find(|(_, known)| known == digest);
                (BASE64.encode(bytes), found.map_or(ALGORITHMS[0].0, |(name, _)| name))
            }
        }
    }

    /// Checks a password; ours take tens of milliseconds.
    pub(crate) fn check(&self, password: &[u8]) -> Match {
        let (right, matched) = match &self.0 {
            Kind::Nothing => (false, Match::Wrong),
            Kind::Argon2id { memory_kib, passes, salt, hash } => {
                let found = argon2id(password, salt, *memory_kib, *passes);
                (found.is_some_and(|found| found.ct_eq(hash).into()), Match::Right)
            }
            Kind::Imported(digest, bytes) => {
                let (salt, hash) =
                    bytes.split_at_checked(RABBITMQ_SALT_BYTES).unwrap_or((&[], &[]));
                let found = digest.of(salt, password);
                (found.ct_eq(hash).into(), Match::RightUntilNow)
            }
        };
        if right { matched } else { Match::Wrong }
    }

    /// What tells an imported hash again after it was replaced by ours.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }

    /// As it is stored: the kind, then by kind.
    ///
    /// ```text
    /// 0                                             no password
    /// 1, memory KiB u32, passes u32, salt 16, hash  argon2id
    /// 2 | 3 | 4, salt 4, digest                     sha256, sha512, md5 as RabbitMQ salts them
    /// ```
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Nothing => vec![0],
            Kind::Argon2id { memory_kib, passes, salt, hash } => {
                let numbers = [memory_kib.to_be_bytes(), passes.to_be_bytes()].concat();
                [&[1], &*numbers, salt, hash].concat()
            }
            Kind::Imported(digest, bytes) => [&[digest.number()], &**bytes].concat(),
        }
    }

    /// Reads what [`PasswordHash::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<PasswordHash, Truncated> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            0 => Kind::Nothing,
            1 => {
                let (memory_kib, passes) = (reader.u32()?, reader.u32()?);
                if memory_kib > MEMORY_KIB_MAX {
                    return Err(Truncated);
                }
                let salt = reader.bytes(SALT_BYTES)?.into();
                let hash = reader.bytes(HASH_BYTES)?.into();
                Kind::Argon2id { memory_kib, passes, salt, hash }
            }
            number => {
                let digests = [Digest::Sha256, Digest::Sha512, Digest::Md5];
                let found = digests.into_iter().find(|digest| digest.number() == number);
                let digest = found.ok_or(Truncated)?;
                let bytes = reader.bytes(RABBITMQ_SALT_BYTES + digest.len())?;
                Kind::Imported(digest, bytes.into())
            }
        };
        if reader.is_empty() { Ok(PasswordHash(kind)) } else { Err(Truncated) }
    }
}

impl Digest {
    fn number(self) -> u8 {
        match self {
            Digest::Sha256 => 2,
            Digest::Sha512 => 3,
            Digest::Md5 => 4,
        }
    }

    fn len(self) -> usize {
        match self {
            Digest::Sha256 => 32,
            Digest::Sha512 => 64,
            Digest::Md5 => 16,
        }
    }

    fn of(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        let salted = [salt, password].concat();
        match self {
            Digest::Sha256 => Sha256::digest(&salted).to_vec(),
            Digest::Sha512 => Sha512::digest(&salted).to_vec(),
            Digest::Md5 => Md5::digest(&salted).to_vec(),
        }
    }
}

fn argon2id(password: &[u8], salt: &[u8], memory_kib: u32, passes: u32) -> Option<Vec<u8>> {
    let params = Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).ok()?;
    let mut hash = vec![0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `test12` as RabbitMQ's manual hashes it, and the same salt with its other modules.
    const SHA256: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

    #[test]
    fn ours_and_rabbitmqs_are_checked() {
        let ours = PasswordHash::of(b"secret").unwrap();
        assert_eq!(ours.check(b"secret"), Match::Right);
        assert_eq!(ours.check(b"Secret"), Match::Wrong);
        assert_ne!(ours, PasswordHash::of(b"secret").unwrap());
        for (algorithm, digest) in ALGORITHMS {
            let salt = [1, 2, 3, 4];
            let text = BASE64.encode([&salt[..], &digest.of(&salt, b"secret")].concat());
            let theirs = PasswordHash::import(&text, algorithm).unwrap();
            assert_eq!(theirs.check(b"secret"), Match::RightUntilNow);
            assert_eq!(theirs.check(b""), Match::Wrong);
        }
        let manual = PasswordHash::import(SHA256, "rabbit_password_hashing_sha256").unwrap();
        assert_eq!(manual.check(b"test12"), Match::RightUntilNow);
        assert_eq!(PasswordHash::nothing().check(b""), Match::Wrong);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let sha256 = "rabbit_password_hashing_sha256";
        for (hash, algorithm, expected) in [
            ("", "anything", Ok(PasswordHash::nothing())),
            (SHA256, "bcrypt", Err(HashError::UnknownAlgorithm)),
            ("!!", sha256, Err(HashError::NotBase64)),
            ("AAAA", sha256, Err(HashError::WrongLength)),
            (SHA256, "rabbit_password_hashing_sha512", Err(HashError::WrongLength)),
        ] {
            assert_eq!(PasswordHash::import(hash, algorithm), expected, "{hash} {algorithm}");
        }
    }

    #[test]
    fn stored_hashes_come_back() {
        let imported = PasswordHash::import(SHA256, "rabbit_password_hashing_sha256").unwrap();
        for hash in [PasswordHash::nothing(), PasswordHash::of(b"x").unwrap(), imported] {
            let bytes = hash.to_bytes();
            let (text, algorithm) = hash.export();
            assert_eq!(PasswordHash::import(&text, algorithm), Ok(hash.clone()));
            assert_eq!(PasswordHash::from_bytes(&bytes), Ok(hash));
            for cut in 0..bytes.len() {
                assert_eq!(PasswordHash::from_bytes(&bytes[..cut]), Err(Truncated));
            }
        }
        assert_eq!(PasswordHash::from_bytes(&[9]), Err(Truncated));
    }
}
