//! Records of queues: declared, deleted.

use domain::binding::QueueId;
use domain::name::Name;
use domain::queue::QueueDeclaration;
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::{Malformed, finished, put_short, take_flags, take_name, take_table};

const AUTO_DELETE: u8 = 1;

/// A queue that survives a restart was declared. Durable and not exclusive go without saying.
pub(crate) fn put_declared(out: &mut Vec<u8>, id: QueueId, name: &Name, queue: &QueueDeclaration) {
    put(out, id.0);
    out.push(if queue.auto_delete { AUTO_DELETE } else { 0 });
    put_short(out, name.as_str().as_bytes());
    queue.arguments.write(out);
}

/// Reads what [`put_declared`] wrote.
pub(crate) fn take_declared(
    payload: &[u8],
) -> Result<(QueueId, Name, QueueDeclaration), Malformed> {
    let mut reader = Reader::new(payload);
    let id = QueueId(take(&mut reader)?);
    let flags = take_flags(&mut reader, AUTO_DELETE)?;
    let name = take_name(&mut reader)?;
    let declaration = QueueDeclaration {
        durable: true,
        exclusive: false,
        auto_delete: flags & AUTO_DELETE != 0,
        arguments: take_table(&mut reader)?,
    };
    finished(&reader).map(|()| (id, name, declaration))
}

/// A queue went.
pub(crate) fn put_deleted(out: &mut Vec<u8>, id: QueueId) {
    put(out, id.0);
}

/// Reads what [`put_deleted`] wrote.
pub(crate) fn take_deleted(payload: &[u8]) -> Result<QueueId, Malformed> {
    let mut reader = Reader::new(payload);
    let id = QueueId(take(&mut reader)?);
    finished(&reader).map(|()| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::table::{Table, Value};

    #[test]
    fn round_trip_and_truncation() {
        let mut arguments = Table::default();
        arguments.push("x-queue-mode", Value::text("lazy"));
        let declaration =
            QueueDeclaration { durable: true, exclusive: false, auto_delete: true, arguments };
        let name = Name::new("orders").unwrap();
        let mut bytes = Vec::new();
        put_declared(&mut bytes, QueueId(4), &name, &declaration);
        assert_eq!(take_declared(&bytes), Ok((QueueId(4), name, declaration)));
        for cut in 0..bytes.len() {
            assert_eq!(take_declared(&bytes[..cut]), Err(Malformed), "cut at {cut}");
        }
        assert_eq!(take_deleted(&[4]), Ok(QueueId(4)));
        assert_eq!(take_deleted(&[4, 0]), Err(Malformed));
    }
}
