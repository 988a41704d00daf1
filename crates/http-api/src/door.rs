//! The door: every route there is, ready to answer.

use std::sync::Arc;

use axum::Router;
use broker::Broker;

use crate::hall::{Hall, HttpSettings};
use crate::house;

/// The way in for HTTP's clients, shared by all their connections.
#[derive(Clone, Debug)]
pub struct HttpDoor {
    router: Router,
}

impl HttpDoor {
    /// A door to this broker.
    pub fn new(broker: Arc<Broker>, settings: HttpSettings) -> HttpDoor {
        HttpDoor { router: house::routes(Hall::new(broker, settings)).into_router() }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }
}
