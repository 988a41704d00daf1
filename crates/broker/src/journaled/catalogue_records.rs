//! Records of the catalogue's journal: each says that something is there from now on, in place of
//! what had its name, or that it is no more. A checkpoint is one commit: its record, then everything there is.

use domain::name::Name;
use stdx::reader::Reader;
use stdx::varint;
use storage::Staged;

use super::{Malformed, finished, put_short, put_text, tag, take_name, take_short, take_text};
use crate::own_limits::{LimitKind, Limited, Max};
use crate::passwords::PasswordHash;
use crate::permissions::{Permission, TopicPermission};
use crate::register::Change;
use crate::tokens::{Scopes, Token};
use crate::users::{Account, Reach};
use crate::vhost_notes::VhostNotes;

/// A record of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueRecord {
    /// Forget everything; what follows restates it.
    Checkpoint,
    Change(Change),
}

const LOOPBACK: u8 = 1;
const REPLACED: u8 = 2;

/// Stages a record.
pub(crate) fn put<W>(record: &CatalogueRecord, staged: &mut Staged<W>) {
    staged.record(record.tag(), |out| record.write(out));
}

impl CatalogueRecord {
    fn tag(&self) -> u8 {
        match self {
            CatalogueRecord::Checkpoint => tag::CATALOGUE_CHECKPOINT,
            CatalogueRecord::Change(change) => match change {
                Change::Vhost(_) => tag::VHOST,
                Change::User(..) => tag::USER,
                Change::Permission { .. } => tag::PERMISSION,
                Change::TopicPermission { .. } => tag::TOPIC_PERMISSION,
                Change::Parameter(..) => tag::PARAMETER,
                Change::VhostDeleted(_) => tag::VHOST_DELETED,
                Change::VhostErased(_) => tag::VHOST_ERASED,
                Change::UserDeleted(_) => tag::USER_DELETED,
                Change::PermissionCleared { .. } => tag::PERMISSION_CLEARED,
                Change::TopicPermissionCleared { .. } => tag::TOPIC_PERMISSION_CLEARED,
                Change::ParameterCleared(_) => tag::PARAMETER_CLEARED,
                Change::VhostNotes(..) => tag::VHOST_NOTES,
                Change::Token(..) => tag::TOKEN,
                Change::TokenRevoked(_) => tag::TOKEN_REVOKED,
                Change::Limit(..) => tag::LIMIT,
                Change::LimitCleared(..) => tag::LIMIT_CLEARED,
            },
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let CatalogueRecord::Change(change) = self else { return };
        match change {
            Change::Vhost(name)
            | Change::VhostDeleted(name)
            | Change::VhostErased(name)
            | Change::UserDeleted(name) => put_name(out, name),
            Change::User(name, account) => {
                put_name(out, name);
                put_account(out, account);
            }
            Change::Permission { user, vhost, permission } => {
                put_name(out, user);
                put_name(out, vhost);
                let Permission { configure, write, read } = permission;
                for pattern in [configure, write, read] {
                    put_text(out, pattern);
                }
            }
            Change::TopicPermission { user, vhost, exchange, permission } => {
                put_name(out, user);
                put_name(out, vhost);
                put_name(out, exchange);
                put_text(out, &permission.write);
                put_text(out, &permission.read);
            }
            Change::Parameter((component, vhost, name), value) => {
                put_name(out, component);
                put_name(out, vhost);
                put_name(out, name);
                put_text(out, value);
            }
            Change::PermissionCleared { user, vhost } => put_names(out, [user, vhost]),
            Change::TopicPermissionCleared { user, vhost, exchange } => {
                put_names(out, [user, vhost, exchange]);
            }
            Change::ParameterCleared((component, vhost, name)) => {
                put_names(out, [component, vhost, name]);
            }
            Change::VhostNotes(name, notes) => {
                put_name(out, name);
                put_text(out, &notes.description);
                put_texts(out, &notes.tags);
            }
            Change::Token((user, name), token) => {
                put_names(out, [user, name]);
                put_token(out, token);
            }
            Change::TokenRevoked((user, name)) => put_names(out, [user, name]),
            Change::Limit(of, kind, max) => {
                put_limit(out, of, *kind);
                put_max(out, *max);
            }
            Change::LimitCleared(of, kind) => put_limit(out, of, *kind),
        }
    }

    /// Reads a record; `None`: its tag is unknown.
    pub(crate) fn take(tag: u8, payload: &[u8]) -> Result<Option<CatalogueRecord>, Malformed> {
        let mut reader = Reader::new(payload);
        let from = &mut reader;
        let change = match tag {
            tag::CATALOGUE_CHECKPOINT => {
                return finished(from).map(|()| Some(CatalogueRecord::Checkpoint));
            }
            tag::VHOST => Change::Vhost(take_name(from)?),
            tag::USER => Change::User(take_name(from)?, take_account(from)?),
            tag::PERMISSION => Change::Permission {
                user: take_name(from)?,
                vhost: take_name(from)?,
                permission: Permission {
                    configure: take_text(from)?,
                    write: take_text(from)?,
                    read: take_text(from)?,
                },
            },
            tag::TOPIC_PERMISSION => Change::TopicPermission {
                user: take_name(from)?,
                vhost: take_name(from)?,
                exchange: take_name(from)?,
                permission: TopicPermission { write: take_text(from)?, read: take_text(from)? },
            },
            tag::PARAMETER => {
                let key = (take_name(from)?, take_name(from)?, take_name(from)?);
                Change::Parameter(key, take_text(from)?)
            }
            tag::VHOST_DELETED => Change::VhostDeleted(take_name(from)?),
            tag::VHOST_ERASED => Change::VhostErased(take_name(from)?),
            tag::USER_DELETED => Change::UserDeleted(take_name(from)?),
            tag::PERMISSION_CLEARED => {
                Change::PermissionCleared { user: take_name(from)?, vhost: take_name(from)? }
            }
            tag::TOPIC_PERMISSION_CLEARED => Change::TopicPermissionCleared {
                user: take_name(from)?,
                vhost: take_name(from)?,
                exchange: take_name(from)?,
            },
            tag::PARAMETER_CLEARED => {
                Change::ParameterCleared((take_name(from)?, take_name(from)?, take_name(from)?))
            }
            tag::VHOST_NOTES => {
                let name = take_name(from)?;
                let description = take_text(from)?;
                let tags = take_texts(from)?.into();
                Change::VhostNotes(name, VhostNotes { description, tags })
            }
            tag::TOKEN => Change::Token((take_name(from)?, take_name(from)?), take_token(from)?),
            tag::TOKEN_REVOKED => Change::TokenRevoked((take_name(from)?, take_name(from)?)),
            tag::LIMIT => {
                let (of, kind) = take_limit(from)?;
                Change::Limit(of, kind, take_max(from)?)
            }
            tag::LIMIT_CLEARED => {
                let (of, kind) = take_limit(from)?;
                Change::LimitCleared(of, kind)
            }
            _unknown => return Ok(None),
        };
        finished(from).map(|()| Some(CatalogueRecord::Change(change)))
    }
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    put_short(out, name.as_str().as_bytes());
}

fn put_names<const COUNT: usize>(out: &mut Vec<u8>, names: [&Name; COUNT]) {
    for name in names {
        put_name(out, name);
    }
}

fn put_texts(out: &mut Vec<u8>, texts: &[Box<str>]) {
    varint::put(out, texts.len() as u64);
    for text in texts {
        put_text(out, text);
    }
}

fn take_texts(reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, Malformed> {
    let count = varint::take(reader)?;
    (0..count).map(|_| take_text(reader)).collect()
}

fn put_token(out: &mut Vec<u8>, token: &Token) {
    out.extend_from_slice(&token.digest);
    out.push(token.scopes.bits());
    put_short(out, token.vhost.as_ref().map_or(&[][..], |vhost| vhost.as_str().as_bytes()));
    varint::put(out, token.created_ms);
    varint::put(out, token.expires_ms.unwrap_or(0));
}

fn take_token(reader: &mut Reader<'_>) -> Result<Token, Malformed> {
    let digest = reader.array()?;
    let scopes = Scopes::from_bits(reader.u8()?).ok_or(Malformed)?;
    let vhost = Some(take_name(reader)?).filter(|vhost| !vhost.is_empty());
    let created_ms = varint::take(reader)?;
    let expires_ms = Some(varint::take(reader)?).filter(|ms| *ms > 0);
    Ok(Token { digest, scopes, vhost, created_ms, expires_ms })
}

const OF_VHOST: u8 = 0;
const OF_USER: u8 = 1;
const CONNECTIONS: u8 = 0;
const QUEUES: u8 = 1;
const CHANNELS: u8 = 2;

fn put_limit(out: &mut Vec<u8>, of: &Limited, kind: LimitKind) {
    let (whose, name) = match of {
        Limited::Vhost(name) => (OF_VHOST, name),
        Limited::User(name) => (OF_USER, name),
    };
    out.push(whose);
    put_name(out, name);
    out.push(match kind {
        LimitKind::Connections => CONNECTIONS,
        LimitKind::Queues => QUEUES,
        LimitKind::Channels => CHANNELS,
    });
}

fn take_limit(reader: &mut Reader<'_>) -> Result<(Limited, LimitKind), Malformed> {
    let whose = reader.u8()?;
    let name = take_name(reader)?;
    let of = match whose {
        OF_VHOST => Limited::Vhost(name),
        OF_USER => Limited::User(name),
        _unknown => return Err(Malformed),
    };
    match reader.u8()? {
        CONNECTIONS => Ok((of, LimitKind::Connections)),
        QUEUES => Ok((of, LimitKind::Queues)),
        CHANNELS => Ok((of, LimitKind::Channels)),
        _unknown => Err(Malformed),
    }
}

/// 0: without a bound.
fn put_max(out: &mut Vec<u8>, max: Max) {
    varint::put(out, max.map_or(0, |max| u64::from(max) + 1));
}

fn take_max(reader: &mut Reader<'_>) -> Result<Max, Malformed> {
    let Some(max) = varint::take(reader)?.checked_sub(1) else { return Ok(None) };
    u32::try_from(max).map(Some).map_err(|_too_large| Malformed)
}

fn put_account(out: &mut Vec<u8>, account: &Account) {
    let Account { tags, password, replaced, reach } = account;
    let loopback = if *reach == Reach::Loopback { LOOPBACK } else { 0 };
    out.push(loopback | if replaced.is_some() { REPLACED } else { 0 });
    put_short(out, &password.to_bytes());
    out.extend(replaced.iter().flatten());
    put_texts(out, tags);
}

fn take_account(reader: &mut Reader<'_>) -> Result<Account, Malformed> {
    let flags = super::take_flags(reader, LOOPBACK | REPLACED)?;
    let password = PasswordHash::from_bytes(take_short(reader)?)?;
    let replaced = if flags & REPLACED == 0 { None } else { Some(reader.array()?) };
    let tags = take_texts(reader)?;
    let reach = if flags & LOOPBACK == 0 { Reach::Anywhere } else { Reach::Loopback };
    Ok(Account { tags: tags.into(), password, replaced, reach })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        let account = |replaced, reach| Account {
            tags: ["administrator".into(), "monitoring".into()].into(),
            password: PasswordHash::import(
                "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
                "rabbit_password_hashing_sha256",
            )
            .unwrap(),
            replaced,
            reach,
        };
        let permission = Permission { configure: "".into(), write: "é".into(), read: ".*".into() };
        let topic = TopicPermission { write: "^a".into(), read: "b$".into() };
        for change in [
            Change::Vhost(name("/")),
            Change::User(name("u"), account(None, Reach::Loopback)),
            Change::User(name("u"), account(Some([7; 32]), Reach::Anywhere)),
            Change::Permission { user: name("u"), vhost: name("/"), permission },
            Change::TopicPermission {
                user: name("u"),
                vhost: name("/"),
                exchange: name("x"),
                permission: topic,
            },
            Change::Parameter((name("policy"), name("/"), name("p")), "{}".into()),
            Change::VhostDeleted(name("/")),
            Change::VhostErased(name("/")),
            Change::UserDeleted(name("u")),
            Change::PermissionCleared { user: name("u"), vhost: name("/") },
            Change::TopicPermissionCleared {
                user: name("u"),
                vhost: name("/"),
                exchange: name("x"),
            },
            Change::ParameterCleared((name("policy"), name("/"), name("p"))),
            Change::VhostNotes(
                name("/"),
                VhostNotes { description: "é".into(), tags: ["a".into()].into() },
            ),
            Change::Token(
                (name("u"), name("t")),
                Token::of("secret", Scopes::READ, None, 1 << 40, Some(1 << 41)),
            ),
            Change::Token(
                (name("u"), name("t")),
                Token::of("secret", Scopes::MANAGE, Some(name("v")), 1, None),
            ),
            Change::TokenRevoked((name("u"), name("t"))),
            Change::Limit(Limited::Vhost(name("/")), LimitKind::Queues, Some(u32::MAX)),
            Change::Limit(Limited::User(name("u")), LimitKind::Connections, None),
            Change::LimitCleared(Limited::Vhost(name("/")), LimitKind::Connections),
        ] {
            let record = CatalogueRecord::Change(change);
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(CatalogueRecord::take(record.tag(), &bytes), Ok(Some(record.clone())));
            for cut in 0..bytes.len() {
                let taken = CatalogueRecord::take(record.tag(), &bytes[..cut]);
                assert_eq!(taken, Err(Malformed), "{record:?} cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(CatalogueRecord::take(record.tag(), &bytes), Err(Malformed));
        }
        assert_eq!(CatalogueRecord::take(99, &[]), Ok(None));
    }
}
