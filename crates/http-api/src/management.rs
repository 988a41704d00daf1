//! RabbitMQ's management API, `/api`, as far as the programs that people have use it.

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes
}
