//! Every five seconds a sample of what the broker counts, as often as RabbitMQ takes them: rates are of
//! the time between two.

use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_secs(5);

/// Takes samples for ever.
pub(crate) async fn take(broker: Arc<Broker>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let broker = Arc::clone(&broker);
        // It waits for the owners of virtual hosts.
        let taken = tokio::task::spawn_blocking(move || broker.sample()).await;
        if let Err(error) = taken {
            tracing::error!(%error, "samples of what is counted are taken no more");
            return;
        }
    }
}
