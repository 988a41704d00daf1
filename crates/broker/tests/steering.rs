//! Steering a broker while it runs: users, permissions, virtual hosts, tokens, definitions. On
//! simulated disks, without sockets or threads.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use broker::definitions::Effect;
use broker::operation::{Answer, BindingChange, Declare, Destination, Operation};
use broker::{
    Background, Batch, Broker, BrokerSettings, Closing, ConnectRefusal, Credentials, Disks, Event,
    FirstUser, LoginRefusal, Permission, Scopes, Session, TokenWish, TopicPermission, User,
    VhostNotes, Wake, WriterDrive,
};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::table::{Table, Value};
use stdx::clock::{ManualClock, Monotonic};
use storage::SyncMode;
use storage::disk::{Disk, SimulatedDisk};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug)]
struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

type Task = Box<dyn FnOnce() + Send>;

/// Nothing here needs what is left for later.
#[derive(Debug)]
struct Never;

impl Background for Never {
    fn run(&self, _task: Task) {}
    fn run_waiting(&self, _task: Task) {}
    fn run_at(&self, _at: Monotonic, _task: Task) {}
}

/// All disks of a machine.
#[derive(Debug, Default)]
struct Shelf {
    catalogue: Arc<SimulatedDisk>,
    vhosts: Mutex<BTreeMap<Name, Arc<SimulatedDisk>>>,
    stuck: AtomicBool,
}

/// What of them the broker has: they outlive it.
#[derive(Debug)]
struct Borrowed(Arc<Shelf>);

impl Disks for Borrowed {
    fn catalogue(&self) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::clone(&self.0.catalogue) as _)
    }

    fn vhost(&self, name: &Name) -> std::io::Result<Arc<dyn Disk>> {
        let mut vhosts = self.0.vhosts.lock().unwrap();
        Ok(Arc::clone(vhosts.entry(name.clone()).or_default()) as _)
    }

    fn erase_vhost(&self, name: &Name) -> std::io::Result<()> {
        if self.0.stuck.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        self.0.vhosts.lock().unwrap().remove(name);
        Ok(())
    }
}

impl Shelf {
    fn has(&self, vhost: &str) -> bool {
        self.vhosts.lock().unwrap().contains_key(vhost)
    }

    fn be_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open(shelf: &Arc<Shelf>, clock: &Arc<ManualClock>) -> Arc<Broker> {
    let draws = AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(Borrowed(Arc::clone(shelf))),
        first_user: FirstUser::guest(None),
        sync: SyncMode::Always,
        journal_file_bytes: Some(64 << 10),
        memory_bytes_max: 64 << 20,
        checkpoint_bytes: None,
        consumer_timeout_ms: None,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(move || draws.fetch_add(1, Ordering::Relaxed)),
        background: Arc::new(Never),
        drive: WriterDrive::ByHand,
    };
    Broker::open(settings).unwrap().0
}

fn fresh() -> (Arc<Shelf>, Arc<ManualClock>, Arc<Broker>) {
    let (shelf, clock) = (Arc::new(Shelf::default()), Arc::new(ManualClock::default()));
    let broker = open(&shelf, &clock);
    (shelf, clock, broker)
}

fn everything() -> Permission {
    Permission { configure: ".*".into(), write: ".*".into(), read: ".*".into() }
}

fn enter(broker: &Arc<Broker>, user: &User, vhost: &str) -> Result<Session, ConnectRefusal> {
    let mut session = broker.connect(user, vhost, Arc::new(Silent))?;
    let mut batch = Batch::default();
    batch.push(Operation::OpenChannel { channel: 1 });
    session.submit(&mut batch);
    Ok(session)
}

fn guest(broker: &Broker) -> User {
    broker.authenticate_external("guest", HERE).unwrap()
}

fn tell(broker: &Broker, session: &mut Session, operations: Vec<Operation>) -> Vec<Event> {
    let mut batch = Batch::default();
    for operation in operations {
        batch.push(operation);
    }
    session.submit(&mut batch);
    while broker.step().unwrap() {}
    let mut events = Vec::new();
    session.take(&mut events);
    events
}

fn queue(text: &str, arguments: Table) -> Operation {
    Operation::DeclareQueue {
        channel: 1,
        queue: name(text),
        declare: Declare::Active,
        declaration: Box::new(QueueDeclaration { durable: true, arguments, ..Default::default() }),
        answer: Answer::Wanted,
    }
}

fn may_declare(broker: &Broker, session: &mut Session, text: &str) -> bool {
    let close = Operation::CloseChannel { channel: 1, answer: Answer::Unwanted };
    let open = Operation::OpenChannel { channel: 1 };
    let told = tell(broker, session, vec![close, open, queue(text, Table::default())]);
    !told.iter().any(|event| matches!(event, Event::Refused { .. }))
}

fn vhosts(broker: &Broker) -> Vec<String> {
    broker.vhosts().into_iter().map(|vhost| vhost.name.into()).collect()
}

#[test]
fn a_deleted_vhost_is_gone_whatever_becomes_of_its_files() {
    let (shelf, clock, broker) = fresh();
    let v = name("v");
    broker.create_vhost(&v).unwrap();
    broker.grant(&name("guest"), &v, &everything()).unwrap();
    let mut session = enter(&broker, &guest(&broker), "v").unwrap();
    tell(&broker, &mut session, vec![queue("q", Table::default())]);
    assert_eq!(broker.export(Some(&v)).queues.len(), 1);

    shelf.be_stuck(true);
    broker.delete_vhost(&v).unwrap();
    assert_eq!(vhosts(&broker), ["/"]);
    let told = tell(&broker, &mut session, vec![queue("r", Table::default())]);
    assert!(matches!(&told[..], [Event::Closing(Closing::Deleted)]), "{told:?}");
    let refused = enter(&broker, &guest(&broker), "v").err();
    assert!(matches!(refused, Some(ConnectRefusal::NoSuchVhost)), "{refused:?}");
    assert!(broker.permissions().iter().all(|it| it.vhost != v));
    assert!(broker.delete_vhost(&v).is_err());

    // Its name is not free for as long as its files are there.
    assert!(shelf.has("v") && broker.create_vhost(&v).is_err());
    drop((session, broker));
    let broker = open(&shelf, &clock);
    assert_eq!(vhosts(&broker), ["/"], "after a start that can't erase either");
    shelf.be_stuck(false);
    broker.create_vhost(&v).unwrap();
    assert!(broker.export(Some(&v)).queues.is_empty(), "what had the name is not inherited");

    shelf.be_stuck(true);
    broker.delete_vhost(&v).unwrap();
    shelf.be_stuck(false);
    drop(broker);
    let broker = open(&shelf, &clock);
    assert!(!shelf.has("v"), "the next start erases");
    assert_eq!(vhosts(&broker), ["/"]);
}

#[test]
fn a_deletion_survives_a_power_loss() {
    for seed in 0..20 {
        let (shelf, clock, broker) = fresh();
        broker.create_vhost(&name("v")).unwrap();
        shelf.be_stuck(true);
        broker.delete_vhost(&name("v")).unwrap();
        let catalogue = Arc::new(shelf.catalogue.crash(seed));
        let after = Shelf { catalogue, ..Shelf::default() };
        *after.vhosts.lock().unwrap() = shelf.vhosts.lock().unwrap().clone();
        let after = Arc::new(after);
        assert_eq!(vhosts(&open(&after, &clock)), ["/"]);
        assert!(!after.has("v"));
    }
}

#[test]
fn changed_permissions_count_at_once_and_a_deleted_user_has_to_go() {
    let (shelf, clock, broker) = fresh();
    let (u, root) = (name("u"), name("/"));
    broker.put_user(&u, Credentials::Nothing, Some(&["monitoring".into()])).unwrap();
    let user = broker.authenticate_external("u", HERE).unwrap();
    assert!(enter(&broker, &user, "/").is_err());
    broker.grant(&u, &root, &everything()).unwrap();
    let mut session = enter(&broker, &user, "/").unwrap();
    let mut bystander = enter(&broker, &guest(&broker), "/").unwrap();
    assert!(may_declare(&broker, &mut session, "b"));

    let only_a = Permission { configure: "^a".into(), ..everything() };
    broker.grant(&u, &root, &only_a).unwrap();
    assert!(!may_declare(&broker, &mut session, "b"));
    assert!(may_declare(&broker, &mut session, "a"));
    broker.clear_permission(&u, &root).unwrap();
    assert!(!may_declare(&broker, &mut session, "a"));
    assert!(broker.clear_permission(&u, &root).is_err());
    broker.grant(&u, &root, &everything()).unwrap();
    assert!(may_declare(&broker, &mut session, "c"));

    broker.delete_user(&u).unwrap();
    let told = tell(&broker, &mut session, Vec::new());
    let mut events = Vec::new();
    session.take(&mut events);
    let told: Vec<Event> = told.into_iter().chain(events).collect();
    let forced = |event: &Event| matches!(event, Event::Closing(Closing::Forced(why)) if **why == *"user 'u' is deleted");
    assert!(told.iter().any(forced), "{told:?}");
    assert!(may_declare(&broker, &mut bystander, "d"));
    assert!(broker.permissions().iter().all(|it| it.user != u));
    drop((session, bystander, broker));
    assert!(open(&shelf, &clock).user("u").is_none());
}

#[test]
fn a_token_is_good_for_what_it_says_and_no_longer() {
    let (shelf, clock, broker) = fresh();
    let wish = |token: &str, scopes, vhost: Option<&str>, lasts_ms| TokenWish {
        user: name("guest"),
        name: name(token),
        scopes,
        vhost: vhost.map(name),
        lasts_ms,
    };
    broker.create_vhost(&name("v")).unwrap();
    broker.grant(&name("guest"), &name("v"), &everything()).unwrap();
    let read = broker.make_token(wish("read", Scopes::READ, None, Some(1_000))).unwrap();
    let manage = broker.make_token(wish("manage", Scopes::MANAGE, Some("v"), None)).unwrap();
    assert!(
        broker.make_token(wish("read", Scopes::READ, None, None)).is_err(),
        "the name is taken"
    );
    for (refused, why) in [
        (wish("x", Scopes::default(), None, None), "no scope"),
        (wish("x", Scopes::READ, Some("nowhere"), None), "no vhost"),
        (wish("x", Scopes::READ, None, Some(0)), "no time"),
        (wish("", Scopes::READ, None, None), "no name"),
    ] {
        assert!(broker.make_token(refused).is_err(), "{why}");
    }
    drop(broker);
    let broker = open(&shelf, &clock);
    let user = |secret: &str| broker.authenticate_token(secret, HERE);
    assert_eq!(user("postroom_guess").unwrap_err(), LoginRefusal::BadCredentials);

    let reader = user(&read).unwrap();
    assert!(reader.may(Scopes::READ) && !reader.may(Scopes::MANAGE));
    assert!(reader.has_tag("administrator"));
    let mut session = enter(&broker, &reader, "/").unwrap();
    assert!(!may_declare(&broker, &mut session, "q"));

    let steward = user(&manage).unwrap();
    assert!(!steward.has_tag("administrator"), "tags are about the whole node");
    assert!(matches!(enter(&broker, &steward, "/").err(), Some(ConnectRefusal::NotAllowed)));
    let mut managing = enter(&broker, &steward, "v").unwrap();
    assert!(may_declare(&broker, &mut managing, "q"));
    // Rights are looked up anew, and stay those of the token.
    broker.grant(&name("guest"), &name("/"), &everything()).unwrap();
    assert!(!may_declare(&broker, &mut session, "q"));

    clock.advance_ms(1_000);
    assert_eq!(user(&read).unwrap_err(), LoginRefusal::BadCredentials);
    assert_eq!(broker.tokens().len(), 1);
    assert!(user(&manage).is_ok());
    broker.revoke_token(&name("guest"), &name("manage")).unwrap();
    assert_eq!(user(&manage).unwrap_err(), LoginRefusal::BadCredentials);
}

#[test]
fn what_is_exported_is_imported_and_then_there_is_nothing_to_do() {
    let (_shelf, _clock, broker) = fresh();
    let v = name("v");
    broker.create_vhost(&v).unwrap();
    let notes = VhostNotes { description: "d".into(), tags: ["t".into()].into() };
    broker.note_vhost(&v, &notes).unwrap();
    broker.grant(&name("guest"), &v, &everything()).unwrap();
    let topics = TopicPermission { write: "^a".into(), read: ".*".into() };
    broker.put_user(&name("u"), Credentials::Password(b"p".to_vec()), Some(&[])).unwrap();
    broker.grant_topics(&name("u"), &v, &name("x"), &topics).unwrap();
    let mut session = enter(&broker, &guest(&broker), "v").unwrap();
    let mut arguments = Table::default();
    arguments.push("x-max-length", Value::I32(7));
    let mut narrow = Table::default();
    narrow.push("n", Value::U8(7));
    let settings = ExchangeSettings {
        exchange_type: ExchangeType::Headers,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
    };
    let exclusive = QueueDeclaration { exclusive: true, ..QueueDeclaration::default() };
    let told = tell(
        &broker,
        &mut session,
        vec![
            queue("q", arguments),
            Operation::DeclareQueue {
                channel: 1,
                queue: name("mine"),
                declare: Declare::Active,
                declaration: Box::new(exclusive),
                answer: Answer::Wanted,
            },
            Operation::DeclareExchange {
                channel: 1,
                exchange: name("x"),
                declare: Declare::Active,
                settings: Box::new(settings),
                answer: Answer::Wanted,
            },
            bind("q", narrow),
            bind("mine", Table::default()),
        ],
    );
    assert!(!told.iter().any(|event| matches!(event, Event::Refused { .. })), "{told:?}");

    let exported = broker.export(None);
    let counts = |it: &broker::definitions::Definitions| {
        (it.vhosts.len(), it.users.len(), it.exchanges.len(), it.queues.len(), it.bindings.len())
    };
    assert_eq!(counts(&exported), (2, 2, 1, 1, 1));
    let plan = broker.plan_import(&exported).unwrap();
    assert_eq!(plan.count(Effect::Nothing), plan.effects.len(), "{plan:?}");

    let (_shelf, _clock, other) = fresh();
    let done = other.import(&exported).unwrap();
    assert!(done.count(Effect::Made) >= 6, "{done:?}");
    assert_eq!(format!("{:?}", other.export(None)), format!("{exported:?}"));
    let plan = other.plan_import(&exported).unwrap();
    assert_eq!(plan.count(Effect::Nothing), plan.effects.len(), "{plan:?}");
}

fn bind(destination: &str, arguments: Table) -> Operation {
    Operation::Bind {
        channel: 1,
        change: BindingChange::Add,
        source: name("x"),
        destination: Destination::Queue(name(destination)),
        routing_key: b"".as_slice().into(),
        arguments: BindingArguments(arguments),
        answer: Answer::Wanted,
    }
}
