//! The description of the native API, for programs that make clients of it and tests that hold it
//! to its word.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::hall::Hall;
use crate::routes::{Need, Routes};

use super::{
    browse, clients, done, lease, limits, node, permissions, publish, queues, routing, tasks,
    tokens, topology, users, vhosts,
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/v1/openapi.json", Need::Nothing, description)
}

/// Why a request was not done (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `Problem` writes")]
struct ProblemDocument {
    /// `urn:postroom:problem:` and one word for the kind of problem.
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong.
    detail: String,
    /// The part of the request that is at fault.
    field: Option<String>,
    /// What to do about it.
    remedy: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postroom",
        description = "The native API: publish, lease and settle messages; queues, exchanges and \
                       bindings; everything there is to see.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        publish::to_queue,
        publish::to_exchange,
        lease::lease,
        lease::settle,
        tokens::list_tokens,
        tokens::make_token,
        tokens::revoke_token,
        users::whoami,
        users::list_users,
        users::get_user,
        users::put_user,
        users::delete_user,
        permissions::list_permissions,
        permissions::put_permission,
        permissions::delete_permission,
        permissions::list_topic_permissions,
        permissions::put_topic_permission,
        permissions::delete_topic_permission,
        permissions::delete_topic_permissions,
        vhosts::list_vhosts,
        vhosts::get_vhost,
        vhosts::put_vhost,
        vhosts::delete_vhost,
        limits::list_vhost_limits,
        limits::put_vhost_limit,
        limits::clear_vhost_limit,
        limits::list_user_limits,
        limits::put_user_limit,
        limits::clear_user_limit,
        topology::put_queue,
        topology::delete_queue,
        topology::purge_queue,
        topology::put_exchange,
        topology::delete_exchange,
        topology::add_binding,
        topology::remove_binding,
        node::get_overview,
        node::get_node,
        queues::list_queues,
        queues::get_queue,
        queues::get_scale,
        browse::browse_queue,
        browse::get_message,
        done::list_done,
        done::forget_done,
        tasks::begin_task,
        tasks::list_tasks,
        tasks::get_task,
        tasks::cancel_task,
        routing::list_exchanges,
        routing::get_exchange,
        routing::list_bindings,
        clients::list_connections,
        clients::list_channels,
        clients::list_consumers,
    ),
    components(schemas(ProblemDocument)),
    security(("basic" = []), ("token" = [])),
    modifiers(&Schemes, &Problems),
)]
struct Description;

/// How to say who asks.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// Whatever is asked may be refused.
struct Problems;

impl Modify for Problems {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let problem =
            ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build();
        let refused = ResponseBuilder::new()
            .description("Why it was not done")
            .content("application/problem+json", problem)
            .build();
        for path in description.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                let answers = &mut operation.responses.responses;
                answers.entry("default".to_owned()).or_insert_with(|| refused.clone().into());
            }
        }
    }
}

async fn description(State(_hall): State<Hall>) -> Response {
    axum::Json(Description::openapi()).into_response()
}
