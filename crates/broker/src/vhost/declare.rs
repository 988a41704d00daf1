//! Declaring exchanges, queues and bindings. What is to survive a restart is journaled, and its
//! answer waits for the disk.

use domain::binding::{QueueId, Target};
use domain::exchange::ExchangeSettings;
use domain::name::Name;
use domain::queue::settings::{QueueSettings, QueueType};
use domain::queue::{QueueDeclaration, check, compare};
use domain::refusal::{Kind, Refusal};
use domain::topology::Change;

use super::queues::QueueSlot;
use super::sessions::Gate;
use super::{Vhost, tags};
use crate::event::Reply;
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::{exchange_records, queue_records, tag};
use crate::operation::{BindingChange, ChannelId, Declare, Destination};
use crate::own_limits::Max;
use crate::session_id::SessionId;

impl Vhost {
    pub(crate) fn declare_exchange(
        &mut self,
        session: SessionId,
        exchange: &Name,
        declare: Declare,
        settings: &ExchangeSettings,
    ) -> Result<Reply, Refusal> {
        match declare {
            Declare::Passive => self.topology.find_exchange(exchange)?,
            Declare::Active => {
                let change = self.topology.declare_exchange(exchange, settings)?;
                if change == Change::Made && settings.durable {
                    self.topology_record(tag::EXCHANGE_DECLARED, |out| {
                        exchange_records::put_declared(out, exchange, settings);
                    });
                }
                self.gate_topology(session);
            }
        }
        Ok(Reply::ExchangeDeclared)
    }

    pub(crate) fn declare_queue(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        name: Name,
        declare: Declare,
        declaration: QueueDeclaration,
    ) -> Result<Reply, Refusal> {
        if let Some(answer) = self.declare_reply_queue(session, channel, &name) {
            return answer;
        }
        let made_up = name.is_empty();
        let name = match (name.is_empty(), declare) {
            (true, Declare::Active) => tags::make("amq.gen-", &mut self.entropy),
            (true, Declare::Passive) => self.last_queue(session, channel)?,
            (false, _) => name,
        };
        if made_up && declare == Declare::Active {
            let settings = QueueSettings::of(&declaration.arguments);
            if settings.queue_type == QueueType::Quorum {
                return Err(Refusal::NoMadeUpName);
            }
            self.permit_made_up(session, &name, &declaration)?;
        }
        let found = self.topology.queue(name.as_str());
        let existing = found.and_then(|id| self.queues.get(&id));
        match (existing, declare) {
            (Some(slot), Declare::Passive) => slot.check_owner(session)?,
            (Some(slot), Declare::Active) => slot.check_declaration(session, &declaration)?,
            (None, Declare::Passive) => return Err(Refusal::NotFound(Kind::Queue, name)),
            (None, Declare::Active) => {
                if name.is_reserved() && !made_up {
                    return Err(Refusal::ReservedName(Kind::Queue, name));
                }
                check(&name, &declaration)?;
                self.check_queue_count(&name)?;
                self.make_queue(session, &name, declaration);
            }
        }
        self.stats.queues_declared += u64::from(declare == Declare::Active);
        if let Some(id) = found {
            self.use_queue_by_declaring(id);
        }
        if let Some(state) = self.channel_mut(session, channel) {
            state.last_queue = Some(name.clone());
        }
        self.gate_topology(session);
        let slot = self.topology.queue(name.as_str()).and_then(|id| self.queues.get(&id));
        let (messages, consumers) =
            slot.map_or((0, 0), |slot| (slot.queue.ready_messages(), slot.queue.consumers.count()));
        Ok(Reply::QueueDeclared { queue: name, messages, consumers })
    }

    fn check_queue_count(&self, queue: &Name) -> Result<(), Refusal> {
        match self.queues_max {
            Some(queues_max) if self.queues.len() >= queues_max as usize => {
                Err(Refusal::QueueLimit { queue: queue.clone(), queues_max })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// From now on; what is there stays.
    pub(crate) fn limit_queues(&mut self, max: Max) {
        self.queues_max = max;
    }

    pub(super) fn make_queue(
        &mut self,
        session: SessionId,
        name: &Name,
        declaration: QueueDeclaration,
    ) {
        let id = QueueId(self.next_queue);
        self.next_queue += 1;
        let owner = declaration.exclusive.then_some(session);
        if let (Some(_), Some(state)) = (owner, self.session_mut(session)) {
            state.exclusive_queues.push(id);
        }
        let slot = QueueSlot::new(name.clone(), declaration, owner);
        if slot.is_journaled() {
            self.topology_record(tag::QUEUE_DECLARED, |out| {
                queue_records::put_declared(out, id, name, &slot.declaration);
            });
        }
        self.topology.add_queue(name.clone(), id);
        if let Some(done) = slot.queue.settings().done {
            self.done.keep(id, done);
        }
        self.queues.insert(id, slot);
        self.roster.insert(id);
        self.stats.queues_created += 1;
        self.use_queue(id);
        self.time_queue(id);
    }

    pub(crate) fn change_binding(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        change: BindingChange,
        mut binding: BindingRecord,
    ) -> Result<Reply, Refusal> {
        let changed = self.binding_target(session, channel, &mut binding).and_then(|target| {
            let BindingRecord { source, key, arguments, .. } = &binding;
            Ok(match change {
                BindingChange::Add => {
                    (target, self.topology.bind(source, target, key, arguments)?, Vec::new())
                }
                BindingChange::Remove => {
                    let (made, orphans) = self.topology.unbind(source, target, key, arguments)?;
                    (target, made, orphans)
                }
            })
        });
        let (target, made, orphans) = match (changed, change) {
            // A binding whose end is not there is not there either: removing it works.
            (Err(Refusal::NotFound(..)), BindingChange::Remove) => {
                self.gate_topology(session);
                return Ok(binding_reply(change, &binding.destination));
            }
            (changed, _) => changed?,
        };
        if made == Change::Made {
            // A removal is journaled in doubt: the source may just have gone with it.
            let journaled =
                !orphans.is_empty() || self.is_binding_journaled(&binding.source, target);
            if journaled {
                let tag = match change {
                    BindingChange::Add => tag::BINDING_MADE,
                    BindingChange::Remove => tag::BINDING_REMOVED,
                };
                self.topology_record(tag, |out| binding.put(out));
            }
            self.journal_orphans(orphans);
        }
        self.gate_topology(session);
        Ok(binding_reply(change, &binding.destination))
    }

    /// Finds what the binding leads to; the empty queue name becomes that of the queue declared
    /// last, and then an empty key becomes that name too (AMQP 0-9-1 `queue.bind`).
    fn binding_target(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        binding: &mut BindingRecord,
    ) -> Result<Target, Refusal> {
        if binding.source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        match &mut binding.destination {
            Destination::Exchange(name) => self.topology.exchange_target(name),
            Destination::Queue(name) => {
                let unnamed = name.is_empty();
                let (id, found) = self.usable_queue(session, channel, name)?;
                if unnamed && binding.key.is_empty() {
                    binding.key = found.as_str().as_bytes().into();
                }
                *name = found;
                Ok(Target::Queue(id))
            }
        }
    }

    /// A binding survives a restart if both its ends do.
    pub(crate) fn is_binding_journaled(&self, source: &Name, target: Target) -> bool {
        let durable = |name: &Name| {
            self.topology.exchange(name.as_str()).is_some_and(|exchange| exchange.settings.durable)
        };
        durable(source)
            && match target {
                Target::Queue(id) => self.queues.get(&id).is_some_and(QueueSlot::is_journaled),
                Target::Exchange(id) => self.topology.exchange_name(id).is_some_and(durable),
            }
    }

    /// The queue of that name, or the one declared last, if this session may use it.
    pub(crate) fn usable_queue(
        &self,
        session: SessionId,
        channel: ChannelId,
        name: &Name,
    ) -> Result<(QueueId, Name), Refusal> {
        let name = if name.is_empty() { self.last_queue(session, channel)? } else { name.clone() };
        let found = self.topology.queue(name.as_str());
        let Some((id, slot)) = found.and_then(|id| Some((id, self.queues.get(&id)?))) else {
            return Err(Refusal::NotFound(Kind::Queue, name));
        };
        slot.check_owner(session)?;
        Ok((id, name))
    }

    fn last_queue(&self, session: SessionId, channel: ChannelId) -> Result<Name, Refusal> {
        let state = self.sessions.get(session.index());
        let channel = state.and_then(|state| state.channels.get(&channel));
        channel.and_then(|channel| channel.last_queue.clone()).ok_or(Refusal::NoQueueDeclaredYet)
    }

    /// Journals a change of the durable topology.
    pub(crate) fn topology_record(&mut self, tag: u8, payload: impl FnOnce(&mut Vec<u8>)) {
        self.topology_staged = true;
        self.turn.staged.record(tag, payload);
    }

    /// The session's next answer promises that the topology stands as it is now: it waits until
    /// the journal has whoever's last change of it.
    pub(crate) fn gate_topology(&mut self, session: SessionId) {
        if self.topology_staged || self.topology_position > self.journal.durable() {
            self.gate(session);
        }
    }

    /// What the session is told in this turn waits for the journal.
    pub(crate) fn gate(&mut self, session: SessionId) {
        self.close_gate(session, Gate::News);
    }

    pub(crate) fn close_gate(&mut self, session: SessionId, gate: Gate) {
        if self.is_poisoned() {
            return;
        }
        self.turn.staged.urge();
        if let Some(state) = self.session_mut(session) {
            state.gate = state.gate.max(gate);
        }
        // Even if it is told nothing: the next turn's news must not wait for this.
        self.touch(session);
    }
}

fn binding_reply(change: BindingChange, destination: &Destination) -> Reply {
    match (change, destination) {
        (BindingChange::Add, Destination::Queue(_)) => Reply::QueueBound,
        (BindingChange::Remove, Destination::Queue(_)) => Reply::QueueUnbound,
        (BindingChange::Add, Destination::Exchange(_)) => Reply::ExchangeBound,
        (BindingChange::Remove, Destination::Exchange(_)) => Reply::ExchangeUnbound,
    }
}

impl QueueSlot {
    pub(super) fn check_owner(&self, session: SessionId) -> Result<(), Refusal> {
        match self.owner {
            Some(owner) if owner != session => Err(Refusal::Locked(self.name.clone())),
            Some(_) | None => Ok(()),
        }
    }

    fn check_declaration(
        &self,
        session: SessionId,
        declaration: &QueueDeclaration,
    ) -> Result<(), Refusal> {
        self.check_owner(session)?;
        if self.declaration.exclusive != declaration.exclusive {
            return Err(Refusal::Locked(self.name.clone()));
        }
        compare(&self.name, declaration, &self.declaration)
    }
}
