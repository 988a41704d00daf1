//! Permissions: patterns of the names that a user may configure, write to and read from in a
//! virtual host, and patterns of the routing keys of topic exchanges.

use std::sync::Arc;

use domain::name::Name;
use fancy_regex::Regex;

use crate::tokens::{Limits, Scopes};
use crate::users::User;

/// What may be done with an exchange or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Make and delete it.
    Configure,
    /// Publish to it, bind to it.
    Write,
    /// Take messages from it, bind from it.
    Read,
}

/// A user's rights in a virtual host: a pattern each, as RabbitMQ writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the rights")]
pub struct Permission {
    pub configure: Box<str>,
    pub write: Box<str>,
    pub read: Box<str>,
}

/// A user's rights on the routing keys of one topic exchange: a pattern each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the rights")]
pub struct TopicPermission {
    pub write: Box<str>,
    pub read: Box<str>,
}

/// Why a pattern can't be used, in the words of the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no regular expression: {1}")]
pub struct NoPattern(Box<str>, Box<str>);

/// Whether a pattern can be used; one of topics may have variables in it.
pub fn check_pattern(pattern: &str) -> Result<(), NoPattern> {
    let variables = ["{username}", "{vhost}", "{client_id}"];
    let expanded = variables
        .iter()
        .fold(pattern.to_owned(), |pattern, variable| pattern.replace(variable, "name"));
    compile(&expanded).map(drop)
}

/// Patterns that match everything, as most people write them.
const EVERYTHING: [&str; 3] = [".*", "^.*$", "^.*"];

fn compile(pattern: &str) -> Result<Regex, NoPattern> {
    Regex::new(pattern).map_err(|error| NoPattern(pattern.into(), error.to_string().into()))
}

/// A compiled pattern.
#[derive(Debug)]
enum Pattern {
    Everything,
    /// It can't be compiled.
    Nothing,
    Some(Box<Regex>),
}

impl Pattern {
    fn new(pattern: &str) -> Pattern {
        match pattern {
            // RabbitMQ reads the empty pattern so: it matches the empty name alone.
            "" => Pattern::compiled("^$"),
            pattern if EVERYTHING.contains(&pattern) => Pattern::Everything,
            pattern => Pattern::compiled(pattern),
        }
    }

    fn compiled(pattern: &str) -> Pattern {
        compile(pattern).map_or(Pattern::Nothing, |regex| Pattern::Some(Box::new(regex)))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::Nothing => false,
            // One that needs too long to say so does not match.
            Pattern::Some(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Pattern::Everything)
    }
}

/// What one user may do in one virtual host.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) user: Name,
    /// Those of the token that was shown, if it was one.
    pub(crate) limits: Option<Arc<Limits>>,
    /// Nothing is forbidden: there is nothing to look up.
    everything: bool,
    configure: Pattern,
    write: Pattern,
    read: Pattern,
    topics: Vec<(Name, TopicPatterns)>,
}

#[derive(Debug)]
struct TopicPatterns {
    write: Pattern,
    read: Pattern,
}

impl Access {
    /// Compiles what is known of the user in the virtual host.
    pub(crate) fn new<'a>(
        user: &User,
        vhost: &str,
        permission: &Permission,
        topics: impl Iterator<Item = (&'a Name, &'a TopicPermission)>,
    ) -> Access {
        let limits = user.limits();
        let user = user.name();
        let expand = |pattern: &str| {
            let quoted = |name: &str| fancy_regex::escape(name).into_owned();
            let expanded = pattern
                .replace("{username}", &quoted(user.as_str()))
                .replace("{vhost}", &quoted(vhost))
                // AMQP 0-9-1 has no client ids: this one stands for itself.
                .replace("{client_id}", "\\{client_id\\}");
            Pattern::new(&expanded)
        };
        let topics: Vec<_> = topics
            .map(|(exchange, permission)| {
                let (write, read) = (expand(&permission.write), expand(&permission.read));
                (exchange.clone(), TopicPatterns { write, read })
            })
            .collect();
        let within = |scopes: &[Scopes], pattern: &str| match limits {
            Some(limits) if !scopes.iter().any(|scope| limits.scopes.allow(*scope)) => {
                Pattern::Nothing
            }
            Some(_) | None => Pattern::new(pattern),
        };
        let configure = within(&[Scopes::MANAGE], &permission.configure);
        let write = within(&[Scopes::PUBLISH], &permission.write);
        let read = within(&[Scopes::READ, Scopes::CONSUME], &permission.read);
        let patterns = [&configure, &write, &read];
        let everything =
            topics.is_empty() && patterns.iter().all(|pattern| pattern.is_everything());
        let limits = limits.cloned();
        Access { user: user.clone(), limits, everything, configure, write, read, topics }
    }

    /// Nothing is allowed any more, to one who is in already.
    pub(crate) fn nothing(user: &User) -> Access {
        let [configure, write, read] = [Pattern::Nothing, Pattern::Nothing, Pattern::Nothing];
        Access {
            user: user.name().clone(),
            limits: user.limits().cloned(),
            everything: false,
            configure,
            write,
            read,
            topics: Vec::new(),
        }
    }

    /// Whether messages may be taken away, and not only looked at.
    pub(crate) fn may_take(&self) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.scopes.allow(Scopes::CONSUME))
    }

    /// Whether nothing is forbidden.
    pub(crate) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether the user has the right on what is named so.
    pub(crate) fn allows(&self, right: Right, name: &str) -> bool {
        let pattern = match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        };
        pattern.matches(name)
    }

    /// Whether the user may write or read messages with that routing key at that topic exchange.
    /// Exchanges of which nothing is said are free.
    pub(crate) fn allows_topic(&self, right: Right, exchange: &str, routing_key: &[u8]) -> bool {
        let Some((_, topic)) = self.topics.iter().find(|(name, _)| name.as_str() == exchange)
        else {
            return true;
        };
        let pattern = match right {
            Right::Configure => return true,
            Right::Write => &topic.write,
            Right::Read => &topic.read,
        };
        pattern.matches(&String::from_utf8_lossy(routing_key))
    }

    /// Whether routing keys are looked at anywhere.
    pub(crate) fn has_topics(&self) -> bool {
        !self.topics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passwords::PasswordHash;
    use crate::users::{Account, Reach};

    fn access(pattern: &str, topics: &[(&str, &str, &str)]) -> Access {
        let account = Account {
            tags: [].into(),
            password: PasswordHash::nothing(),
            replaced: None,
            reach: Reach::Anywhere,
        };
        let user = User::new(Name::new("a.b").unwrap(), &account);
        let permission =
            Permission { configure: pattern.into(), write: ".*".into(), read: ".*".into() };
        let topics: Vec<_> = topics
            .iter()
            .map(|(exchange, write, read)| {
                let permission = TopicPermission { write: (*write).into(), read: (*read).into() };
                (Name::new(exchange).unwrap(), permission)
            })
            .collect();
        let topics = topics.iter().map(|(name, permission)| (name, permission));
        Access::new(&user, "v", &permission, topics)
    }

    #[test]
    fn patterns_are_unanchored_and_the_empty_one_grants_nothing() {
        for (pattern, name, expected) in [
            (".*", "anything", true),
            ("", "anything", false),
            ("^$", "anything", false),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^(a|b)$", "b", true),
            ("^(?!secret)", "public", true),
            ("^(?!secret)", "secret.q", false),
            ("(", "(", false),
        ] {
            assert_eq!(access(pattern, &[]).allows(Right::Configure, name), expected, "{pattern}");
        }
        assert!(check_pattern("(").is_err() && check_pattern("^(?!a)").is_ok());
    }

    #[test]
    fn a_token_is_good_for_its_scopes_only() {
        let name = Name::new("u").unwrap();
        let everything =
            Permission { configure: ".*".into(), write: ".*".into(), read: ".*".into() };
        for (scopes, expected) in [
            (Scopes::READ, "read"),
            (Scopes::PUBLISH, "write"),
            (Scopes::CONSUME, "read take"),
            (Scopes::READ.and(Scopes::PUBLISH), "write read"),
            (Scopes::MANAGE, "configure write read take everything"),
            (Scopes::default(), ""),
        ] {
            let user = User::inside(name.clone(), Some(Arc::new(Limits { scopes, vhost: None })));
            let access = Access::new(&user, "v", &everything, std::iter::empty());
            let found = [
                (access.allows(Right::Configure, "q"), "configure"),
                (access.allows(Right::Write, "q"), "write"),
                (access.allows(Right::Read, "q"), "read"),
                (access.may_take(), "take"),
                (access.is_everything(), "everything"),
            ];
            let found = found.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
            assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{scopes:?}");
        }
    }

    #[test]
    fn only_who_may_everything_may_everything() {
        assert!(access(".*", &[]).is_everything());
        assert!(!access("^a", &[]).is_everything());
        assert!(!access(".*", &[("x", ".*", ".*")]).is_everything());
    }

    #[test]
    fn topics_know_variables() {
        let access = access(".*", &[("x", "^{username}\\.{vhost}$", ""), ("y", "{client_id}", "")]);
        for (exchange, right, key, expected) in [
            ("x", Right::Write, "a.b.v", true),
            ("x", Right::Write, "a-b.v", false),
            ("x", Right::Read, "", true),
            ("x", Right::Read, "k", false),
            ("free", Right::Write, "k", true),
            ("y", Right::Write, "k", false),
            ("y", Right::Write, "{client_id}", true),
        ] {
            let found = access.allows_topic(right, exchange, key.as_bytes());
            assert_eq!(found, expected, "{exchange} {key}");
        }
    }
}
