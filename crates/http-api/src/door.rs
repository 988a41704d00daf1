//! The door: every route there is, ready to answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use broker::Broker;
use tower::ServiceExt as _;

use crate::hall::{Hall, HttpSettings};
use crate::house;
use crate::peer::Peer;
use crate::routes::Route;

/// The way in for HTTP's clients, shared by all their connections.
#[derive(Clone, Debug)]
pub struct HttpDoor {
    table: Arc<[Route]>,
    router: Router,
}

impl HttpDoor {
    /// A door to this broker.
    pub fn new(broker: Arc<Broker>, settings: HttpSettings) -> HttpDoor {
        let routes = house::routes(Hall::new(broker, settings));
        let table = routes.table().into();
        HttpDoor { table, router: routes.into_router() }
    }

    /// Every request there is.
    pub fn routes(&self) -> &[Route] {
        &self.table
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request, peer: Peer) -> Response {
        request.extensions_mut().insert(peer);
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}
