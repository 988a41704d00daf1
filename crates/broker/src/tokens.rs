//! Tokens: secrets that a program shows instead of its user's name and password. A token acts as its
//! user, and may be made for less: for some kinds of requests, for one virtual host, for a time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::name::Name;
use sha2::{Digest as _, Sha256};

/// Whose it is, and what it is called.
pub(crate) type TokenKey = (Name, Name);

/// What secrets begin with, so that those who search for leaked ones can tell them.
const PREFIX: &str = "postroom_";

/// Random bytes of a secret: nobody guesses them, so that a plain digest protects them.
const SECRET_BYTES: usize = 32;

/// The kinds of requests that a token is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Look at what there is, without changing it.
    pub const READ: Scopes = Scopes(1);
    /// Publish messages.
    pub const PUBLISH: Scopes = Scopes(2);
    /// Take messages.
    pub const CONSUME: Scopes = Scopes(4);
    /// Everything that the user may.
    pub const MANAGE: Scopes = Scopes(8);

    /// Their names.
    pub const NAMES: [(&'static str, Scopes); 4] = [
        ("read", Scopes::READ),
        ("publish", Scopes::PUBLISH),
        ("consume", Scopes::CONSUME),
        ("manage", Scopes::MANAGE),
    ];

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Scopes> {
        Scopes::NAMES.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// Whether it is good for that; what manages is good for all.
    pub fn allow(self, scope: Scopes) -> bool {
        self.0 & (scope.0 | Scopes::MANAGE.0) != 0
    }

    /// Their names, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Scopes::NAMES.into_iter().filter(move |(_, scope)| self.0 & scope.0 != 0);
        named.map(|(name, _)| name)
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Scopes> {
        (bits < 16).then_some(Scopes(bits))
    }
}

/// To what a token is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    pub(crate) scopes: Scopes,
    /// `None`: wherever the user may.
    pub(crate) vhost: Option<Name>,
}

/// What is kept of a token: never its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) digest: [u8; 32],
    pub(crate) scopes: Scopes,
    pub(crate) vhost: Option<Name>,
    /// In milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// In milliseconds since 1970; `None`: never.
    pub(crate) expires_ms: Option<u64>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { scopes, vhost, expires_ms, .. } = self;
        f.debug_struct("Token")
            .field("scopes", scopes)
            .field("vhost", vhost)
            .field("expires_ms", expires_ms)
            .finish_non_exhaustive()
    }
}

impl Token {
    pub(crate) fn of(
        secret: &str,
        scopes: Scopes,
        vhost: Option<Name>,
        created_ms: u64,
        expires_ms: Option<u64>,
    ) -> Token {
        Token { digest: digest(secret), scopes, vhost, created_ms, expires_ms }
    }

    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

/// What a secret is known by.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A new secret; `None`: the system has no random numbers.
pub(crate) fn draw() -> Option<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_allow_what_they_name_and_managing_allows_all() {
        let all: Vec<Scopes> = Scopes::NAMES.iter().map(|(_, scope)| *scope).collect();
        for scope in &all {
            assert!(Scopes::MANAGE.allow(*scope) && !Scopes::default().allow(*scope));
        }
        let some = Scopes::READ.and(Scopes::PUBLISH);
        assert!(some.allow(Scopes::READ) && some.allow(Scopes::PUBLISH));
        assert!(!some.allow(Scopes::CONSUME) && !some.allow(Scopes::MANAGE));
        assert_eq!(some.names().collect::<Vec<_>>(), ["read", "publish"]);
        assert_eq!(Scopes::from_bits(some.bits()), Some(some));
        assert_eq!((Scopes::from_bits(16), Scopes::parse("root")), (None, None));
    }

    #[test]
    fn secrets_differ_and_only_their_digest_is_kept() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 43, "{one}");
        let token = Token::of(&one, Scopes::READ, None, 1, Some(5));
        assert!(!format!("{token:?}").contains(&one));
        assert_eq!(token.digest, digest(&one));
        assert!(!token.is_over(4) && token.is_over(5));
    }
}
