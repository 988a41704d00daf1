//! The queues of a run: fresh ones, which go with it.

use crate::client::Client;
use crate::failure::Failure;

pub(crate) fn name(number: u64) -> String {
    format!("httpload-{number}")
}

/// Makes them, empty.
pub(crate) fn make(client: &mut Client, count: u64) -> Result<(), Failure> {
    for number in 0..count {
        let path = format!("/v1/queues/{}", name(number));
        client.ask(&format!("PUT {path}"), "{}")?;
        client.ask(&format!("POST {path}/purge"), "")?;
    }
    Ok(())
}

pub(crate) fn delete(client: &mut Client, count: u64) -> Result<(), Failure> {
    for number in 0..count {
        client.ask(&format!("DELETE /v1/queues/{}", name(number)), "")?;
    }
    Ok(())
}
