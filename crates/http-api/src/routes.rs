//! The table of routes: which requests there are, and who may make them. Nothing is answered that
//! does not stand in it, and what stands in it is answered only to those who may ask.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, on};

use crate::gate::{self, Gate};
use crate::hall::Hall;
pub(crate) use crate::need::Need;
use crate::problem::Problem;

/// A request there is.
#[derive(Clone, Debug)]
pub struct Route {
    /// How it is asked.
    pub method: Method,
    /// What is asked, with names for what varies: `/v1/queues/{queue}`.
    pub path: &'static str,
    /// By whom.
    pub need: Need,
}

/// The table, while it is made.
pub(crate) struct Routes {
    hall: Hall,
    table: Vec<Route>,
    router: Router<Hall>,
}

impl Routes {
    /// An empty table.
    pub(crate) fn new(hall: Hall) -> Routes {
        Routes { hall, table: Vec::new(), router: Router::new() }
    }

    /// Answers GET (and HEAD).
    pub(crate) fn get<H, T>(self, path: &'static str, need: Need, handler: H) -> Routes
    where
        H: Handler<T, Hall>,
        T: 'static,
    {
        self.add((Method::GET, MethodFilter::GET), path, need, handler)
    }

    /// Answers PUT.
    pub(crate) fn put<H, T>(self, path: &'static str, need: Need, handler: H) -> Routes
    where
        H: Handler<T, Hall>,
        T: 'static,
    {
        self.add((Method::PUT, MethodFilter::PUT), path, need, handler)
    }

    /// Answers POST.
    pub(crate) fn post<H, T>(self, path: &'static str, need: Need, handler: H) -> Routes
    where
        H: Handler<T, Hall>,
        T: 'static,
    {
        self.add((Method::POST, MethodFilter::POST), path, need, handler)
    }

    /// Answers DELETE.
    pub(crate) fn delete<H, T>(self, path: &'static str, need: Need, handler: H) -> Routes
    where
        H: Handler<T, Hall>,
        T: 'static,
    {
        self.add((Method::DELETE, MethodFilter::DELETE), path, need, handler)
    }

    fn add<H, T>(
        mut self,
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        need: Need,
        handler: H,
    ) -> Routes
    where
        H: Handler<T, Hall>,
        T: 'static,
    {
        let gate = Gate { hall: self.hall.clone(), need };
        let guarded = on(filter, handler).layer(from_fn_with_state(gate, gate::pass));
        self.table.push(Route { method, path, need });
        self.router = self.router.route(path, guarded);
        self
    }

    /// What stands in it.
    pub(crate) fn table(&self) -> &[Route] {
        &self.table
    }

    /// Ready to answer.
    pub(crate) fn into_router(self) -> Router {
        self.router
            .fallback(nothing_there)
            .method_not_allowed_fallback(wrong_method)
            .layer(axum::middleware::from_fn(gate::speak))
            .with_state(self.hall)
    }
}

async fn nothing_there(uri: Uri) -> impl IntoResponse {
    let known = "the API is described by /v1/openapi.json";
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}", uri.path()))
        .remedy(known)
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} can't be asked with {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .remedy("the methods there are stand in the answer's header Allow")
}
