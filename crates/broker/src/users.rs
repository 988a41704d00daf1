//! Who may log in. Until there is a catalogue of users there is one, `guest`, with everything
//! allowed, from this machine only (RabbitMQ's `loopback_users`).

use std::net::IpAddr;

const GUEST: &str = "guest";

/// Somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
}

impl User {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// No such user, or another password. Which of the two is nobody's business.
    #[error("unknown user or wrong password")]
    BadCredentials,
    /// The user may come from this machine only.
    #[error("user guest may only connect from this machine")]
    LoopbackOnly,
}

pub(crate) fn authenticate(
    user: &str,
    password: &[u8],
    peer: IpAddr,
) -> Result<User, LoginRefusal> {
    if user != GUEST || password != GUEST.as_bytes() {
        return Err(LoginRefusal::BadCredentials);
    }
    if !peer.to_canonical().is_loopback() {
        return Err(LoginRefusal::LoopbackOnly);
    }
    Ok(User { name: user.to_owned() })
}

/// A user whose identity somebody else has proved, by a certificate.
pub(crate) fn authenticate_external(user: &str, peer: IpAddr) -> Result<User, LoginRefusal> {
    if user != GUEST {
        return Err(LoginRefusal::BadCredentials);
    }
    if !peer.to_canonical().is_loopback() {
        return Err(LoginRefusal::LoopbackOnly);
    }
    Ok(User { name: user.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_comes_from_this_machine_only() {
        for (user, password, peer, expected) in [
            ("guest", "guest", "127.0.0.1", None),
            ("guest", "guest", "::1", None),
            ("guest", "guest", "::ffff:127.0.0.1", None),
            ("guest", "guest", "192.0.2.1", Some(LoginRefusal::LoopbackOnly)),
            ("guest", "wrong", "127.0.0.1", Some(LoginRefusal::BadCredentials)),
            ("guest", "wrong", "192.0.2.1", Some(LoginRefusal::BadCredentials)),
            ("root", "guest", "127.0.0.1", Some(LoginRefusal::BadCredentials)),
        ] {
            let peer = peer.parse().unwrap();
            assert_eq!(
                authenticate(user, password.as_bytes(), peer).err(),
                expected,
                "{user} {peer}"
            );
        }
    }
}
