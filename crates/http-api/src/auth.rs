//! Whose request it is: name and password (RFC 7617) or a token (RFC 6750) in every request. A verified password is
//! remembered by the broker, so that only the first request of many waits for its hash.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{Login, LoginRefusal, PasswordCheck, Turn, User};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::hall::Hall;
use crate::problem::Problem;

/// How long somebody waits for the turn of his password.
const CHECK_TIME_MAX: Duration = Duration::from_secs(20);

/// Finds out whose request this is.
pub(crate) async fn identify(
    hall: &Hall,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<User, Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(unauthorized("this needs a user's name and password"));
    };
    let (scheme, credentials) =
        header
            .to_str()
            .ok()
            .and_then(|text| text.trim().split_once(' '))
            .ok_or_else(|| unauthorized("the header Authorization is malformed"))?;
    if scheme.eq_ignore_ascii_case("basic") {
        let (name, password) = basic(credentials.trim())
            .ok_or_else(|| unauthorized("the header Authorization has no name and password"))?;
        return log_in(hall, &name, &password, peer).await;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        let shown = hall.broker().authenticate_token(credentials.trim(), peer);
        return shown.map_err(|refusal| {
            tracing::warn!(%peer, %refusal, "HTTP token refused");
            match refusal {
                LoginRefusal::BadCredentials => unauthorized("the token is unknown, or over"),
                LoginRefusal::LoopbackOnly | LoginRefusal::TooMany => refused(refusal),
            }
        });
    }
    Err(unauthorized("the header Authorization names an unknown scheme"))
}

/// Name and password of RFC 7617.
fn basic(credentials: &str) -> Option<(String, Vec<u8>)> {
    let bytes = STANDARD.decode(credentials).ok()?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&bytes[..colon]).ok()?.to_owned();
    Some((name, bytes[colon + 1..].to_vec()))
}

async fn log_in(hall: &Hall, name: &str, password: &[u8], peer: IpAddr) -> Result<User, Problem> {
    let login = hall.broker().authenticate(name, password, peer);
    let checked = match login {
        Ok(Login::Known(user)) => return Ok(user),
        Ok(Login::Unknown(check)) => {
            let checked = timeout(CHECK_TIME_MAX, wait_and_check(check)).await;
            checked.unwrap_or(Err(LoginRefusal::TooMany))
        }
        Err(refusal) => Err(refusal),
    };
    checked.map_err(|refusal| {
        tracing::warn!(user = name, %peer, %refusal, "HTTP login refused");
        refused(refusal)
    })
}

async fn wait_and_check(check: PasswordCheck) -> Result<User, LoginRefusal> {
    loop {
        match check.turn() {
            Turn::Known(user) => return Ok(user),
            Turn::Later { ms } => sleep(Duration::from_millis(ms)).await,
            Turn::Now(hashing) => {
                // A check that panics is no login.
                let checked = spawn_blocking(move || hashing.check()).await;
                return checked.unwrap_or(Err(LoginRefusal::BadCredentials));
            }
        }
    }
}

fn refused(refusal: LoginRefusal) -> Problem {
    match refusal {
        LoginRefusal::BadCredentials => unauthorized("unknown user or wrong password"),
        LoginRefusal::LoopbackOnly => {
            let problem = unauthorized("this user may only log in from the broker's own machine");
            problem.remedy("log in as a user that was made with a password of its own")
        }
        LoginRefusal::TooMany => {
            let detail = "too many logins are waiting to be checked";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
        }
    }
}

fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "not_authorized", detail).remedy(
        "send a name and a password (curl -u NAME:PASSWORD) or a token that lasts \
         (curl -H 'Authorization: Bearer TOKEN')",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons_and_any_bytes() {
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        for (bytes, name, password) in [
            (&b"u:p"[..], "u", &b"p"[..]),
            (b"u:p:q", "u", b"p:q"),
            (b":", "", b""),
            (b"u:\xff", "u", b"\xff"),
        ] {
            assert_eq!(basic(&encode(bytes)), Some((name.to_owned(), password.to_vec())));
        }
        assert_eq!(basic(&encode(b"nobody")), None);
        assert_eq!(basic("not base64!"), None);
    }
}
