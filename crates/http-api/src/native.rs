//! The native API, `/v1`.

mod openapi;

mod lease;
mod publish;
mod topology;

mod delivery;
mod message;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = openapi::routes(routes);
    let routes = publish::routes(routes);
    let routes = lease::routes(routes);
    topology::routes(routes)
}
