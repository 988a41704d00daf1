//! Records of the catalogue's journal: each says that something is there from now on, in place of
//! what had its name. A checkpoint is one commit: its record, then everything there is.

use domain::name::Name;
use stdx::reader::Reader;
use stdx::varint;
use storage::Staged;

use super::{Malformed, finished, put_short, tag, take_name, take_short};
use crate::passwords::PasswordHash;
use crate::permissions::{Permission, TopicPermission};
use crate::register::Change;
use crate::users::{Account, Reach};

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
            },
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let CatalogueRecord::Change(change) = self else { return };
        match change {
            Change::Vhost(name) => put_name(out, name),
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
            _unknown => return Ok(None),
        };
        finished(from).map(|()| Some(CatalogueRecord::Change(change)))
    }
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    put_short(out, name.as_str().as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn take_text(reader: &mut Reader<'_>) -> Result<Box<str>, Malformed> {
    let len = usize::try_from(varint::take(reader)?).map_err(|_too_long| Malformed)?;
    let bytes = reader.bytes(len)?;
    std::str::from_utf8(bytes).map(Into::into).map_err(|_not_utf8| Malformed)
}

fn put_account(out: &mut Vec<u8>, account: &Account) {
    let Account { tags, password, replaced, reach } = account;
    let loopback = if *reach == Reach::Loopback { LOOPBACK } else { 0 };
    out.push(loopback | if replaced.is_some() { REPLACED } else { 0 });
    put_short(out, &password.to_bytes());
    out.extend(replaced.iter().flatten());
    varint::put(out, tags.len() as u64);
    for tag in tags.iter() {
        put_text(out, tag);
    }
}

fn take_account(reader: &mut Reader<'_>) -> Result<Account, Malformed> {
    let flags = super::take_flags(reader, LOOPBACK | REPLACED)?;
    let password = PasswordHash::from_bytes(take_short(reader)?)?;
    let replaced = if flags & REPLACED == 0 { None } else { Some(reader.array()?) };
    let count = varint::take(reader)?;
    let mut tags = Vec::new();
    for _ in 0..count {
        tags.push(take_text(reader)?);
    }
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
