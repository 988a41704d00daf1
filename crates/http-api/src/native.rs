//! The native API, `/v1`.

mod publish;

mod message;

use crate::routes::Routes;

pub(crate) fn routes(routes: Routes) -> Routes {
    publish::routes(routes)
}
