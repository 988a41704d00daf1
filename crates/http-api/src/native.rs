//! The native API, `/v1`.

mod openapi;

mod lease;
mod limits;
mod publish;
mod permissions;
mod tokens;
mod topology;
mod users;
mod vhosts;

mod node;

mod clients;

mod routing;

mod queues;

mod cursor;

mod tasks;

mod task_run;

mod browse;

mod done;

mod filter;
mod json_path;

mod delivery;
mod message;

pub(crate) use publish::wait_for_memory;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = openapi::routes(routes);
    let routes = publish::routes(routes);
    let routes = lease::routes(routes);
    let routes = tokens::routes(routes);
    let routes = users::routes(routes);
    let routes = permissions::routes(routes);
    let routes = vhosts::routes(routes);
    let routes = limits::routes(routes);
    let routes = node::routes(routes);
    let routes = clients::routes(routes);
    let routes = queues::routes(routes);
    let routes = browse::routes(routes);
    let routes = done::routes(routes);
    let routes = tasks::routes(routes);
    let routes = routing::routes(routes);
    topology::routes(routes)
}
