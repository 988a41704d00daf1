//! All the rooms under one roof: every route there is.

use crate::hall::Hall;
use crate::routes::Routes;
use crate::{health, management, metrics, native};

/// Every route there is.
pub(crate) fn routes(hall: Hall) -> Routes {
    let routes = Routes::new(hall);
    let routes = health::routes(routes);
    let routes = metrics::routes(routes);
    let routes = native::routes(routes);
    management::routes(routes)
}
