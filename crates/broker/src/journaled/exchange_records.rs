//! Records of exchanges: declared, deleted.

use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use stdx::reader::Reader;

use super::{Malformed, finished, put_short, take_flags, take_name, take_table};

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

fn type_number(exchange_type: ExchangeType) -> u8 {
    match exchange_type {
        ExchangeType::Direct => 1,
        ExchangeType::Fanout => 2,
        ExchangeType::Topic => 3,
        ExchangeType::Headers => 4,
    }
}

fn type_of(number: u8) -> Result<ExchangeType, Malformed> {
    match number {
        1 => Ok(ExchangeType::Direct),
        2 => Ok(ExchangeType::Fanout),
        3 => Ok(ExchangeType::Topic),
        4 => Ok(ExchangeType::Headers),
        _unknown => Err(Malformed),
    }
}

/// An exchange that survives a restart was declared.
pub(crate) fn put_declared(out: &mut Vec<u8>, name: &Name, settings: &ExchangeSettings) {
    let auto_delete = if settings.auto_delete { AUTO_DELETE } else { 0 };
    let internal = if settings.internal { INTERNAL } else { 0 };
    out.push(type_number(settings.exchange_type));
    out.push(auto_delete | internal);
    put_short(out, name.as_str().as_bytes());
    settings.arguments.write(out);
}

/// Reads what [`put_declared`] wrote.
pub(crate) fn take_declared(payload: &[u8]) -> Result<(Name, ExchangeSettings), Malformed> {
    let mut reader = Reader::new(payload);
    let exchange_type = type_of(reader.u8()?)?;
    let flags = take_flags(&mut reader, AUTO_DELETE | INTERNAL)?;
    let name = take_name(&mut reader)?;
    let settings = ExchangeSettings {
        exchange_type,
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: take_table(&mut reader)?,
    };
    finished(&reader).map(|()| (name, settings))
}

/// An exchange went.
pub(crate) fn put_deleted(out: &mut Vec<u8>, name: &Name) {
    put_short(out, name.as_str().as_bytes());
}

/// Reads what [`put_deleted`] wrote.
pub(crate) fn take_deleted(payload: &[u8]) -> Result<Name, Malformed> {
    let mut reader = Reader::new(payload);
    let name = take_name(&mut reader)?;
    finished(&reader).map(|()| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::exchange::EXCHANGE_TYPES;
    use domain::table::Table;

    #[test]
    fn round_trip_and_truncation() {
        for (text, exchange_type) in EXCHANGE_TYPES {
            let name = Name::new(text).unwrap();
            let settings = ExchangeSettings {
                exchange_type,
                durable: true,
                auto_delete: text == "topic",
                internal: text == "fanout",
                arguments: Table::default(),
            };
            let mut bytes = Vec::new();
            put_declared(&mut bytes, &name, &settings);
            assert_eq!(take_declared(&bytes), Ok((name.clone(), settings)));
            for cut in 0..bytes.len() {
                assert_eq!(take_declared(&bytes[..cut]), Err(Malformed), "{text} cut at {cut}");
            }
            let mut bytes = Vec::new();
            put_deleted(&mut bytes, &name);
            assert_eq!(take_deleted(&bytes), Ok(name));
        }
    }
}
