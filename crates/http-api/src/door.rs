//! The door: every route there is, ready to answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
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
        if let Some(uri) = without_last_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(peer);
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

/// RabbitMQ takes slashes at the end of a path for nothing. Celery Flower names the virtual host `/`
/// by one more of them.
fn without_last_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.starts_with("/api/") || !path.ends_with('/') {
        return None;
    }
    let path = match path {
        "/api/queues//" => "/api/queues/%2F",
        path => path.trim_end_matches('/'),
    };
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{path}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_are_nothing_to_rabbitmqs_clients() {
        for (asked, meant) in [
            ("/api/queues", None),
            ("/api/queues/", Some("/api/queues")),
            ("/api/queues/%2F/?page=1", Some("/api/queues/%2F?page=1")),
            ("/api/queues//", Some("/api/queues/%2F")),
            ("http://host:1/api/vhosts/", Some("http://host:1/api/vhosts")),
            ("/v1/queues/", None),
            ("/", None),
        ] {
            let found = without_last_slash(&asked.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), meant, "{asked}");
        }
    }
}
