//! RabbitMQ's management API, `/api`, as far as the programs that people have use it.

mod overview;

mod bindings;
mod exchanges;
mod queues;

mod channels;
mod connections;

mod checks;

mod nodes;

mod closing;
mod definitions;
mod messages;
mod parameters;
mod limits;
mod permissions;
mod topology;
mod vhosts;

mod users;

mod depths;
mod listing;
mod message_stats;

mod fields;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = overview::routes(routes);
    let routes = nodes::routes(routes);
    let routes = bindings::routes(routes);
    let routes = exchanges::routes(routes);
    let routes = queues::routes(routes);
    let routes = channels::routes(routes);
    let routes = connections::routes(routes);
    let routes = users::routes(routes);
    let routes = permissions::routes(routes);
    let routes = vhosts::routes(routes);
    let routes = limits::routes(routes);
    let routes = parameters::routes(routes);
    let routes = definitions::routes(routes);
    let routes = topology::routes(routes);
    let routes = messages::routes(routes);
    let routes = closing::routes(routes);
    checks::routes(routes)
}
