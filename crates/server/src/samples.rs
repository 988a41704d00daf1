//! Every five seconds a sample of what the broker counts, as often as RabbitMQ takes them: rates are of
//! the time between two. And a look at what the process has of its machine.

use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use tokio::time::{MissedTickBehavior, interval};

use crate::watermarks::Scales;

const PERIOD: Duration = Duration::from_secs(5);

/// Takes samples for ever.
pub(crate) async fn take(broker: Arc<Broker>, scales: Scales) {
    let scales = Arc::new(scales);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (broker, scales) = (Arc::clone(&broker), Arc::clone(&scales));
        // It waits for the owners of virtual hosts.
        let taken = tokio::task::spawn_blocking(move || {
            broker.tell_machine(scales.weigh());
            broker.sample();
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "samples of what is counted are taken no more");
            return;
        }
    }
}
