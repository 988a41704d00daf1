//! Tokens: made, listed, revoked, and shown at the door.

use std::net::IpAddr;
use std::sync::Arc;

use domain::name::Name;

use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::logins::admitted;
use crate::register::Change;
use crate::tokens::{self, Limits, Scopes, Token};
use crate::users::{LoginRefusal, User};

/// A token as it is kept; its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// As whom it acts.
    pub user: Name,
    /// Its name, one of the user's own.
    pub name: Name,
    /// For what it is good.
    pub scopes: Scopes,
    /// `None`: wherever the user may.
    pub vhost: Option<Name>,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// In milliseconds since 1970; `None`: never.
    pub expires_ms: Option<u64>,
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub struct TokenWish {
    /// As whom it acts.
    pub user: Name,
    /// Its name.
    pub name: Name,
    /// For what it shall be good.
    pub scopes: Scopes,
    /// `None`: wherever the user may.
    pub vhost: Option<Name>,
    /// How long it is good, in milliseconds; `None`: for ever.
    pub lasts_ms: Option<u64>,
}

/// Why a token is not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MakeTokenError {
    /// A token needs a name.
    #[error("a token's name can't be empty")]
    NoName,
    /// It would be good for nothing.
    #[error("a token needs a scope: read, publish, consume or manage")]
    NoScope,
    /// It would be over already.
    #[error("the token would be over at once")]
    Past,
    /// There is no such user.
    #[error("there is no user '{0}'")]
    NoSuchUser(Name),
    /// There is no such virtual host.
    #[error("there is no vhost '{0}'")]
    NoSuchVhost(Name),
    /// The user has one of that name.
    #[error("there is a token '{0}' already: revoke it first, or take another name")]
    Taken(Name),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoEntropy,
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// Why a token is not revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RevokeError {
    /// The user has none of that name.
    #[error("there is no token '{0}'")]
    NoSuchToken(Name),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

impl Broker {
    /// All tokens that are not over, by user and name.
    pub fn tokens(&self) -> Vec<TokenView> {
        let now_ms = self.wall_ms();
        let register = self.catalogue.read();
        let valid = register.tokens.iter().filter(|(_, token)| !token.is_over(now_ms));
        let view = |((user, name), token): (&(Name, Name), &Token)| TokenView {
            user: user.clone(),
            name: name.clone(),
            scopes: token.scopes,
            vhost: token.vhost.clone(),
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
        };
        valid.map(view).collect()
    }

    /// Makes a token, and tells its secret this once. Tokens that are over go with it. Waits for the
    /// disk.
    pub fn make_token(&self, wish: TokenWish) -> Result<String, MakeTokenError> {
        let TokenWish { user, name, scopes, vhost, lasts_ms } = wish;
        let now_ms = self.wall_ms();
        let expires_ms = lasts_ms.map(|ms| now_ms.saturating_add(ms));
        if name.is_empty() {
            return Err(MakeTokenError::NoName);
        }
        if scopes == Scopes::default() {
            return Err(MakeTokenError::NoScope);
        }
        let secret = tokens::draw().ok_or(MakeTokenError::NoEntropy)?;
        let token = Token::of(&secret, scopes, vhost, now_ms, expires_ms);
        if token.is_over(now_ms) {
            return Err(MakeTokenError::Past);
        }
        self.catalogue.decide(|register| {
            if !register.users.contains_key(&user) {
                return Err(MakeTokenError::NoSuchUser(user));
            }
            if let Some(vhost) = token.vhost.as_ref().filter(|it| !register.vhosts.contains(*it)) {
                return Err(MakeTokenError::NoSuchVhost(vhost.clone()));
            }
            let key = (user, name);
            if register.tokens.get(&key).is_some_and(|there| !there.is_over(now_ms)) {
                return Err(MakeTokenError::Taken(key.1));
            }
            let over = register.tokens.iter().filter(|(_, token)| token.is_over(now_ms));
            let mut changes: Vec<Change> =
                over.map(|(key, _)| Change::TokenRevoked(key.clone())).collect();
            changes.push(Change::Token(key, token));
            Ok(changes)
        })?;
        Ok(secret)
    }

    /// Revokes a token: nobody gets in with it from now on. Waits for the disk.
    pub fn revoke_token(&self, user: &Name, name: &Name) -> Result<(), RevokeError> {
        let key = (user.clone(), name.clone());
        self.catalogue.decide(|register| match register.tokens.get(&key) {
            Some(_) => Ok(vec![Change::TokenRevoked(key.clone())]),
            None => Err(RevokeError::NoSuchToken(name.clone())),
        })
    }

    /// Lets in whoever shows a token's secret. Never waits.
    pub fn authenticate_token(&self, secret: &str, peer: IpAddr) -> Result<User, LoginRefusal> {
        let digest = tokens::digest(secret);
        let now_ms = self.wall_ms();
        let found = {
            let register = self.catalogue.read();
            // What is compared is a digest of what was shown: how long that takes tells nothing.
            let shown = register.tokens.iter().find(|(_, token)| token.digest == digest);
            let shown = shown.filter(|(_, token)| !token.is_over(now_ms));
            shown.and_then(|((user, _), token)| {
                let account = register.users.get(user)?.clone();
                let limits = Limits { scopes: token.scopes, vhost: token.vhost.clone() };
                Some((user.clone(), account, Arc::new(limits)))
            })
        };
        let (name, account, limits) = found.ok_or(LoginRefusal::BadCredentials)?;
        admitted((name, account), peer).map(|user| user.limited(limits))
    }
}
