//! Watching the whole broker: who is connected, and samples of everything that is counted.

use std::sync::Arc;

use crate::broker::Broker;
use crate::connections::{Connection, ConnectionsSeen};
use crate::node::{Machine, NodeView};
use crate::traces::{SpanCounts, SpanSink};
use crate::vhost::tallies::Sampling;

impl Broker {
    /// Who is connected, oldest first.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.all()
    }

    /// The connection of that name.
    pub fn connection(&self, name: &str) -> Option<Arc<Connection>> {
        self.connections.find(name)
    }

    /// How many connections came and went since the start.
    pub fn connections_seen(&self) -> ConnectionsSeen {
        self.connections.seen()
    }

    /// Ends a connection: its client is told why.
    pub fn close_connection(&self, connection: &Arc<Connection>, why: &str) {
        if let Some(hub) = self.hub(connection.vhost.as_str()) {
            hub.close_connection(connection, why);
        }
    }

    /// Somebody has looked what the process has of its machine.
    pub fn tell_machine(&self, machine: Machine) {
        self.node.tell(machine);
    }

    /// The node as a whole.
    pub fn node(&self) -> NodeView {
        self.node.view(self.clock().monotonic().ms())
    }

    /// From now on what happens to traced messages is told there. It is told once, to one.
    pub fn trace_to(&self, sink: Arc<dyn SpanSink>) {
        let sink = self.spans.get_or_init(|| sink);
        for hub in self.hubs() {
            hub.trace_to(sink);
        }
    }

    /// What became of spans; zeros if nobody wants any.
    pub fn span_counts(&self) -> SpanCounts {
        self.spans.get().map(|sink| sink.counts()).unwrap_or_default()
    }

    /// Takes a sample of everything that has changed since the last one: rates are of the time
    /// between two samples. To be called every few seconds, on a thread that may wait.
    pub fn sample(&self) {
        let elapsed_ms = self.connections.begin_sample(self.clock().monotonic());
        for connection in self.connections.all() {
            connection.sample(elapsed_ms);
        }
        for sight in self.sights() {
            sight.hub.begin_sample();
            while sight.hub.sample_slice() == Sampling::More {}
            sight.looks.forget_old(&*sight.clock);
        }
    }
}
