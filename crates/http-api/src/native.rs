//! The native API, `/v1`.

mod openapi;

mod publish;
mod topology;

mod message;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = openapi::routes(routes);
    let routes = publish::routes(routes);
    topology::routes(routes)
}
