//! A visit: what one request asks of a virtual host, in the name of its user. A session of its own,
//! with one channel, which goes with the request.

use std::collections::VecDeque;
use std::sync::Arc;

use broker::operation::{Answer, ChannelId, Operation};
use broker::{Batch, Broker, Event, Reply, Session, User, Wake};
use tokio::sync::Notify;

use crate::problem::Problem;
use crate::refusals;

/// The only channel of a visit.
pub(crate) const CHANNEL: ChannelId = 1;

/// A session for one request.
pub(crate) struct Visit {
    session: Session,
    bell: Arc<Bell>,
    batch: Batch,
    events: VecDeque<Event>,
    taken: Vec<Event>,
    vhost: Box<str>,
}

#[derive(Debug, Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Visit {
    /// Enters a virtual host.
    pub(crate) fn enter(broker: &Arc<Broker>, user: &User, vhost: &str) -> Result<Visit, Problem> {
        let bell = Arc::new(Bell::default());
        let session = broker.visit(user, vhost, Arc::clone(&bell) as Arc<dyn Wake>);
        let session = session.map_err(|refusal| refusals::turned_away(&refusal, vhost))?;
        let mut batch = Batch::default();
        batch.push(Operation::OpenChannel { channel: CHANNEL });
        let (events, taken) = (VecDeque::new(), Vec::new());
        Ok(Visit { session, bell, batch, events, taken, vhost: vhost.into() })
    }

    /// What is to be asked next; [`Visit::send`] asks it.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Asks all that is in the batch.
    pub(crate) fn send(&mut self) {
        self.session.submit(&mut self.batch);
    }

    /// The next thing the virtual host says. Refusals and closings are problems.
    pub(crate) async fn next(&mut self) -> Result<Event, Problem> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Event::Refused { verb, refusal, .. } = &event {
                    return Err(refusals::refused(refusal, *verb, &self.vhost));
                }
                if let Event::Closing(closing) = &event {
                    return Err(refusals::closed(closing, &self.vhost));
                }
                // The answer to the channel's opening comes before all others, to nobody's surprise.
                if !matches!(event, Event::Reply { reply: Reply::ChannelOpened, .. }) {
                    return Ok(event);
                }
            }
            let rung = self.bell.0.notified();
            self.session.take(&mut self.taken);
            if self.taken.is_empty() {
                rung.await;
            }
            let cost_bytes = self.taken.iter().map(Event::cost_bytes).sum();
            self.session.written(cost_bytes);
            self.events.extend(self.taken.drain(..));
        }
    }

    /// Asks one thing that is answered by a reply.
    pub(crate) async fn ask(&mut self, operation: Operation) -> Result<Reply, Problem> {
        self.batch.push(operation);
        self.send();
        loop {
            if let Event::Reply { reply, .. } = self.next().await? {
                return Ok(reply);
            }
        }
    }

    /// Ends the session, and waits until everything that was asked is done.
    pub(crate) async fn leave(mut self) -> Result<(), Problem> {
        self.batch.push(Operation::End);
        self.send();
        while !matches!(self.next().await?, Event::Ended) {}
        Ok(())
    }

    /// Turns on confirms.
    pub(crate) fn select_confirms(&mut self) {
        let channel = CHANNEL;
        self.batch.push(Operation::SelectConfirms { channel, answer: Answer::Unwanted });
    }
}
