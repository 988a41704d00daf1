//! What was asked, for the log: by whom, from where, and what came of it. Never what came with it:
//! neither bodies nor the parameters behind a path nor what proves who somebody is.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use tokio::time::Instant;

use crate::need::Need;
use crate::peer::Peer;

/// Everybody makes tokens for himself, and each lets somebody in.
const TOKENS: &str = "/v1/tokens";

/// A request, before it is answered.
#[derive(Debug)]
pub(crate) struct Asked {
    method: Method,
    path: String,
    peer: Option<SocketAddr>,
    began: Instant,
    importance: Importance,
}

/// How important a request is to whoever reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Importance {
    /// It changes how the broker is run: users, rights, tokens, virtual hosts, definitions.
    Act,
    /// Any other.
    Usual,
}

impl Asked {
    /// What there is to say of the request; nothing if nobody reads it.
    pub(crate) fn of(request: &Request, need: Need) -> Option<Asked> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_act = !need.tags().is_empty() || request.uri().path().starts_with(TOKENS);
        let importance = if is_act && !reads { Importance::Act } else { Importance::Usual };
        let is_read = match importance {
            Importance::Act => tracing::enabled!(tracing::Level::INFO),
            Importance::Usual => tracing::enabled!(tracing::Level::DEBUG),
        };
        is_read.then(|| Asked {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: request.extensions().get::<Peer>().map(|peer| peer.address),
            began: Instant::now(),
            importance,
        })
    }

    /// It was answered.
    pub(crate) fn answered(self, user: Option<&str>, status: StatusCode) {
        let Asked { method, path, peer, began, importance } = self;
        let (status, elapsed_ms) = (status.as_u16(), began.elapsed().as_secs_f64() * 1e3);
        let peer = peer.map(tracing::field::display);
        match importance {
            Importance::Act => {
                tracing::info!(%method, path, user, peer, status, elapsed_ms, "HTTP act");
            }
            Importance::Usual => {
                tracing::debug!(%method, path, user, peer, status, elapsed_ms, "HTTP request");
            }
        }
    }
}
