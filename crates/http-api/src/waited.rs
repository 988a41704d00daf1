//! What waits for the disk is done on a thread that may wait.

use std::sync::Arc;

use broker::Broker;

use crate::hall::Hall;
use crate::problem::Problem;

/// Does something with the broker that may wait. It is done to its end, even if nobody wants to know
/// any more.
pub(crate) async fn waited<T: Send + 'static>(
    hall: &Hall,
    act: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, Problem> {
    let broker = Arc::clone(hall.broker());
    let done = tokio::task::spawn_blocking(move || act(&broker)).await;
    done.map_err(|_panic| Problem::broken())
}
