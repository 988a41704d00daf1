//! Looking at what there is: which virtual hosts a user may look at, and where the work of looking is
//! done. Whoever looks waits for slices of the owners' time, so it is done on threads that may wait;
//! and only a few make long lists at the same time.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::{Broker, Sight, User};
use domain::name::Name;
use serde::Serialize;

use crate::hall::Hall;
use crate::need::Need;
use crate::problem::Problem;
use crate::waited::{waited, waited_in_turn};

/// Somebody who looks.
pub(crate) struct Looker<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) user: &'a User,
}

/// Looks at one thing.
pub(crate) async fn at_one(
    hall: &Hall,
    user: User,
    look: impl FnOnce(&Looker<'_>) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    waited(hall, move |broker| look(&Looker { broker, user: &user })).await?
}

/// Looks at a list. A list may be long, so it has to wait for a place.
pub(crate) async fn at_many(
    hall: &Hall,
    user: User,
    look: impl FnOnce(&Looker<'_>) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let lookers = hall.lookers();
    waited_in_turn(hall, lookers, move |broker| look(&Looker { broker, user: &user })).await?
}

impl Looker<'_> {
    /// Whether he sees what is everybody's.
    pub(crate) fn watches(&self) -> bool {
        Need::Monitoring.tags().iter().any(|tag| self.user.has_tag(tag))
    }

    /// Whether he may know of a virtual host: those who watch over the node know of all.
    pub(crate) fn sees(&self, vhost: &Name) -> bool {
        self.watches() || self.broker.may_enter(self.user, vhost)
    }

    /// Whether he may know of what a user does.
    pub(crate) fn sees_user(&self, user: &Name) -> bool {
        self.watches() || self.user.name() == user
    }

    /// Every virtual host that he may look at, by name.
    pub(crate) fn sights(&self) -> Vec<Sight> {
        let mut sights = self.broker.sights();
        sights.retain(|sight| self.sees(sight.vhost()));
        sights
    }

    /// The virtual host of that name, or why not.
    pub(crate) fn sight(&self, vhost: &str) -> Result<Sight, Problem> {
        let none = || Problem::not_found(format!("there is no vhost '{vhost}'"));
        let sight = spelled(vhost, |name| self.broker.sight(name)).ok_or_else(none)?;
        if self.sees(sight.vhost()) {
            return Ok(sight);
        }
        Err(Problem::forbidden(format!("the user has no permission on vhost '{vhost}'"))
            .remedy("an administrator can give it"))
    }
}

/// Finds what a path names. Some programs write a blank in a path as they would behind the question
/// mark, as `+`; what is named so to the letter comes first.
pub(crate) fn spelled<T>(name: &str, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    find(name).or_else(|| if name.contains('+') { find(&name.replace('+', " ")) } else { None })
}

/// A document.
pub(crate) fn json(document: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(document).map_err(|_unwritable| Problem::broken())?;
    let mut response = (StatusCode::OK, bytes).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The time, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as RFC 3339 writes it, of milliseconds since 1970.
pub(crate) fn rfc3339(wall_ms: u64) -> String {
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    // Days are counted from 0000-03-01, so that leap days come last: Howard Hinnant's civil calendar.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let ms = ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_the_civil_calendar() {
        for (wall_ms, expected) in [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (951_868_799_999, "2000-02-29T23:59:59.999+00:00"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000+00:00"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000+00:00"),
            (1_795_550_420_648, "2026-11-24T20:00:20.648+00:00"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000+00:00"),
        ] {
            assert_eq!(rfc3339(wall_ms), expected);
        }
    }

    #[test]
    fn a_plus_in_a_path_may_be_a_blank() {
        let there = |known: &'static str| move |name: &str| (name == known).then_some(known);
        assert_eq!(spelled("a+b", there("a+b")), Some("a+b"));
        assert_eq!(spelled("a+b", there("a b")), Some("a b"));
        assert_eq!(spelled("a b", there("a+b")), None);
    }
}
