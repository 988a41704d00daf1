//! How many connections there may be: in all, to one virtual host, of one user. A place is taken
//! before a client is let in and given back when its session goes. Channels of a user are counted
//! with its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::channel_limits::UserChannels;
use crate::own_limits::{ConnectionsMax, Max};

/// The limits; `None`: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total_max: Option<u32>,
    /// To each virtual host.
    pub vhost_max: Option<u32>,
    /// Of each user.
    pub user_max: Option<u32>,
}

/// Which limit is reached, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// That of all connections.
    Total(u32),
    /// That of the virtual host.
    Vhost(u32),
    /// That of the user.
    User(u32),
}

/// The places of a broker.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    limits: ConnectionLimits,
    total: u32,
    by_vhost: HashMap<Box<str>, Inside>,
    by_user: HashMap<Box<str>, Inside>,
}

/// Those of one virtual host or of one user.
#[derive(Debug, Default)]
struct Inside {
    connections: u32,
    /// Of all of them; of a user.
    channels: Arc<UserChannels>,
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on; who is already in stays.
    pub(crate) fn limit(&self, limits: ConnectionLimits) {
        self.taken().limits = limits;
    }

    /// From now on; channels that are open stay.
    pub(crate) fn limit_channels(&self, max_of: impl Fn(&str) -> Max) {
        for (user, inside) in &self.taken().by_user {
            inside.channels.limit(max_of(user));
        }
    }

    /// `own` are the limits of this virtual host and this user alone; without one, that of all
    /// counts. It is asked while nobody else is let in or limited.
    pub(crate) fn take(
        self: &Arc<Places>,
        vhost: &str,
        user: &str,
        own: impl FnOnce() -> ConnectionsMax,
    ) -> Result<Place, Full> {
        let mut taken = self.taken();
        let (limits, own) = (taken.limits, own());
        let held = |held: &HashMap<Box<str>, Inside>, name| {
            held.get(name).map_or(0, |inside| inside.connections)
        };
        let reached = |count: u32, max: Option<u32>| max.filter(|max| count >= *max);
        // In RabbitMQ's order.
        if let Some(max) = reached(taken.total, limits.total_max) {
            return Err(Full::Total(max));
        }
        if let Some(max) =
            reached(held(&taken.by_vhost, vhost), own.vhost.unwrap_or(limits.vhost_max))
        {
            return Err(Full::Vhost(max));
        }
        if let Some(max) = reached(held(&taken.by_user, user), own.user.unwrap_or(limits.user_max))
        {
            return Err(Full::User(max));
        }
        taken.total += 1;
        taken.by_vhost.entry(vhost.into()).or_default().connections += 1;
        let inside = taken.by_user.entry(user.into()).or_default();
        inside.connections += 1;
        inside.channels.limit(own.user_channels);
        let channels = Arc::clone(&inside.channels);
        Ok(Place { places: Arc::clone(self), vhost: vhost.into(), user: user.into(), channels })
    }
}

/// A connection's place; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    vhost: Box<str>,
    user: Box<str>,
    channels: Arc<UserChannels>,
}

impl Place {
    /// The channels of its user.
    pub(crate) fn channels(&self) -> &Arc<UserChannels> {
        &self.channels
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.total -= 1;
        give_back(&mut taken.by_vhost, &self.vhost);
        give_back(&mut taken.by_user, &self.user);
    }
}

/// Names that nobody holds are forgotten, or the map would grow with every user there ever was.
fn give_back(held: &mut HashMap<Box<str>, Inside>, name: &str) {
    if let Some(inside) = held.get_mut(name) {
        inside.connections -= 1;
        if inside.connections == 0 {
            held.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_by_vhost_and_by_user() {
        let places = Arc::new(Places::default());
        let mut inside = vec![places.take("a", "u", ConnectionsMax::default).unwrap()];
        places.limit(ConnectionLimits {
            total_max: Some(4),
            vhost_max: Some(2),
            user_max: Some(3),
        });
        let mut own = ConnectionsMax::default();
        let mut come = |vhost, user, own| match places.take(vhost, user, || own) {
            Ok(place) => {
                inside.push(place);
                None
            }
            Err(full) => Some(full),
        };
        assert_eq!(come("a", "u", own), None);
        assert_eq!(come("a", "v", own), Some(Full::Vhost(2)));
        assert_eq!(come("b", "u", own), None);
        assert_eq!(come("b", "u", own), Some(Full::User(3)));
        assert_eq!(come("b", "v", own), None);
        assert_eq!(come("c", "w", own), Some(Full::Total(4)));
        places.limit(ConnectionLimits { total_max: None, vhost_max: Some(2), user_max: Some(3) });
        own = ConnectionsMax { vhost: Some(Some(3)), user: Some(None), user_channels: None };
        assert_eq!(come("a", "u", own), None);
        assert_eq!(come("a", "w", own), Some(Full::Vhost(3)));
        own = ConnectionsMax { vhost: None, user: Some(Some(1)), user_channels: None };
        assert_eq!(come("c", "w", own), None);
        assert_eq!(come("d", "w", own), Some(Full::User(1)));
        inside.clear();
        let taken = places.taken();
        assert_eq!((taken.total, taken.by_vhost.len(), taken.by_user.len()), (0, 0, 0));
    }

    #[test]
    fn channels_are_limited_over_all_connections_of_a_user() {
        let places = Arc::new(Places::default());
        let own = || ConnectionsMax { user_channels: Some(2), ..ConnectionsMax::default() };
        let here = places.take("a", "u", own).unwrap();
        let there = places.take("b", "u", own).unwrap();
        let other = places.take("a", "v", ConnectionsMax::default).unwrap();
        let first = here.channels().open().unwrap();
        let _second = there.channels().open().unwrap();
        assert_eq!(there.channels().open().unwrap_err(), 2);
        assert!(other.channels().open().is_ok());
        drop(first);
        let _third = here.channels().open().unwrap();
        places.limit_channels(|user| (user == "u").then_some(0));
        assert_eq!(here.channels().open().unwrap_err(), 0);
        places.limit_channels(|_user| None);
        assert!(here.channels().open().is_ok());
    }
}
