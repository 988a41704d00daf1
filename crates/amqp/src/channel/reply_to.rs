//! Direct replies on the way in: a request that names the queue of direct replies gets the address
//! of its channel's consumer instead, so that whoever answers finds the way back.
//!
//! Here is known at once what the broker will know when it gets there: a consumer that it refuses
//! takes the whole channel along.

#![deny(clippy::indexing_slicing)]

use broker::operation::{Consume, Operation, REPLY_QUEUE};
use domain::name::Name;

use crate::reply_code::{Fault, ReplyCode};
use crate::translate::requests::PUBLISH;

/// The consumer of a channel's replies.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    pub(crate) consumer_tag: Name,
    pub(crate) address: Name,
}

impl Replies {
    /// What a request that was read leaves of the channel's consumer of replies.
    pub(crate) fn follow(replies: &mut Option<Replies>, operation: &Operation) {
        if let Operation::ConsumeReplies { consumer_tag, address, .. } = operation {
            replies.get_or_insert_with(|| Replies {
                consumer_tag: consumer_tag.clone(),
                address: address.clone(),
            });
        } else if let Operation::Cancel { consumer_tag, .. } = operation
            && replies.as_ref().is_some_and(|known| known.consumer_tag == *consumer_tag)
        {
            *replies = None;
        }
    }
}

/// A consumer of the queue of direct replies is of another kind, and has an address.
pub(crate) fn consumed(operation: Operation, mut make_name: impl FnMut(&str) -> Name) -> Operation {
    let Operation::Consume { channel, consume, answer } = operation else { return operation };
    if consume.queue.as_str() != REPLY_QUEUE {
        return Operation::Consume { channel, consume, answer };
    }
    let Consume { consumer_tag, acknowledgement, .. } = *consume;
    let consumer_tag = if consumer_tag.is_empty() { make_name("amq.ctag-") } else { consumer_tag };
    let address = make_name(&format!("{REPLY_QUEUE}."));
    Operation::ConsumeReplies { channel, consumer_tag, address, acknowledgement, answer }
}

/// The properties with the address of the replies' consumer; they have the queue's name as a short
/// string that begins at `at`.
pub(crate) fn addressed(
    properties: &[u8],
    at: usize,
    replies: Option<&Replies>,
) -> Result<Box<[u8]>, Fault> {
    let Some(replies) = replies else {
        let text = "fast reply consumer does not exist";
        return Err(Fault::new(ReplyCode::PreconditionFailed, PUBLISH, text));
    };
    let (before, rest) = properties.split_at_checked(at).unwrap_or((properties, &[]));
    let len = rest.first().map_or(0, |len| usize::from(*len) + 1);
    let behind = rest.get(len..).unwrap_or_default();
    let address = replies.address.as_str().as_bytes();
    // A name is no longer than a short string may be.
    let address_bytes = u8::try_from(address.len()).unwrap_or(u8::MAX);
    Ok([before, &[address_bytes], address, behind].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::glance;

    /// A content type, a correlation id, this reply-to, and an application's name.
    fn properties(reply_to: &str) -> Vec<u8> {
        let mut bytes = 0x8608_u16.to_be_bytes().to_vec();
        for text in ["text", "correlation", reply_to, "app"] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn the_queue_of_replies_becomes_the_address_and_all_else_stays() {
        let replies = Replies {
            consumer_tag: Name::new("c").unwrap(),
            address: Name::new("amq.rabbitmq.reply-to.secret").unwrap(),
        };
        let request = properties(REPLY_QUEUE);
        let (_, at) = glance(&request).unwrap().reply_to.unwrap();
        let found = addressed(&request, at, Some(&replies)).unwrap();
        assert_eq!(*found, *properties("amq.rabbitmq.reply-to.secret"));
        let fault = addressed(&request, at, None).unwrap_err();
        assert_eq!(fault.text, "PRECONDITION_FAILED - fast reply consumer does not exist");
    }
}
