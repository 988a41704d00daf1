//! What waits for the disk is done on a thread that may wait.

use std::sync::Arc;

use broker::Broker;
use tokio::sync::Semaphore;

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

/// As [`waited`], when there is a place for it.
pub(crate) async fn waited_in_turn<T: Send + 'static>(
    hall: &Hall,
    places: &Arc<Semaphore>,
    act: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, Problem> {
    let broker = Arc::clone(hall.broker());
    in_turn(places, move || act(&broker)).await
}

/// The place is taken until the work is done, also if whoever asked has hung up: else those who ask and
/// hang up, again and again, would have any number of threads at work.
async fn in_turn<T: Send + 'static>(
    places: &Arc<Semaphore>,
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(|_closed| Problem::broken())?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        act()
    });
    done.await.map_err(|_panic| Problem::broken())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_hangs_up_gives_no_place_free_before_the_work_is_done() {
        let places = Arc::new(Semaphore::new(1));
        let (begins, begun) = oneshot::channel();
        let (goes_on, wait) = std::sync::mpsc::channel::<()>();
        let own = Arc::clone(&places);
        let asking = tokio::spawn(async move {
            in_turn(&own, move || {
                _ = begins.send(());
                _ = wait.recv();
            })
            .await
        });
        begun.await.unwrap();
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(places.available_permits(), 0);
        goes_on.send(()).unwrap();
        drop(places.acquire().await.unwrap());
        assert_eq!(in_turn(&places, || 7).await, Ok(7));
    }
}
