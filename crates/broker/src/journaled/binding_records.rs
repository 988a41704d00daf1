//! Records of bindings: made, removed. Both say the whole binding.

use domain::binding::BindingArguments;
use domain::name::Name;
use stdx::reader::Reader;

use super::{Malformed, finished, put_short, take_name, take_short, take_table};
use crate::operation::Destination;

const QUEUE: u8 = 0;
const EXCHANGE: u8 = 1;

/// A binding by names, as it stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BindingRecord {
    pub(crate) source: Name,
    pub(crate) destination: Destination,
    pub(crate) key: Box<[u8]>,
    pub(crate) arguments: BindingArguments,
}

impl BindingRecord {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let (kind, destination) = match &self.destination {
            Destination::Queue(name) => (QUEUE, name),
            Destination::Exchange(name) => (EXCHANGE, name),
        };
        out.push(kind);
        put_short(out, self.source.as_str().as_bytes());
        put_short(out, destination.as_str().as_bytes());
        put_short(out, &self.key);
        self.arguments.0.write(out);
    }

    pub(crate) fn take(payload: &[u8]) -> Result<BindingRecord, Malformed> {
        let mut reader = Reader::new(payload);
        let kind = reader.u8()?;
        let source = take_name(&mut reader)?;
        let destination = take_name(&mut reader)?;
        let destination = match kind {
            QUEUE => Destination::Queue(destination),
            EXCHANGE => Destination::Exchange(destination),
            _unknown => return Err(Malformed),
        };
        let key = take_short(&mut reader)?.into();
        let arguments = BindingArguments(take_table(&mut reader)?);
        finished(&reader).map(|()| BindingRecord { source, destination, key, arguments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        let name = |text| Name::new(text).unwrap();
        for destination in [Destination::Queue(name("q")), Destination::Exchange(name("x"))] {
            let record = BindingRecord {
                source: name("amq.topic"),
                destination,
                key: b"a.\xff".as_slice().into(),
                arguments: BindingArguments::default(),
            };
            let mut bytes = Vec::new();
            record.put(&mut bytes);
            assert_eq!(BindingRecord::take(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                assert_eq!(BindingRecord::take(&bytes[..cut]), Err(Malformed), "cut at {cut}");
            }
        }
    }
}
