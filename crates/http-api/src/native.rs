//! The native API, `/v1`.

mod message;
mod publish;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    publish::routes(routes)
}
