//! Transactions and direct replies.

use crate::script::check;

#[test]
fn a_transaction_takes_effect_when_it_is_committed_and_is_safe_when_it_is_answered() {
    check(
        "a queue q durable
         a exchange x fanout
         a bind x q -
         sync -> a: q has 0, 0 consumers; a: ExchangeDeclared; a: QueueBound
         a publish - q 1 2 3
         sync
         a tx -> a: TransactionsSelected
         a get q -> a: got#1 1, 2 left
         a get q -> a: got#2 2, 1 left
         a ack 1
         a requeue 2
         a publish - q 4 a-large-message
         a publish x k 5
         a publish - nowhere 6 mandatory
         a publish - nowhere,q 7
         b queue q passive -> b: q has 1, 0 consumers
         a commit
         b consume q c -> b: Consuming; b: c#1 2'; b: c#2 3; b: c#3 4; \
                          b: c#4 a-large-message; b: c#5 5; b: c#6 7
         sync -> a: returned 6; a: Committed
         crash
         b get q -> b: got#1 2', 5 left",
    );
}

#[test]
fn a_crash_keeps_all_of_a_transaction_or_nothing() {
    for (end, left) in [
        ("commit", "b: got#1 1', 1 left"),
        (
            "commit
         sync -> a: Committed",
            "b: got#1 2', 1 left",
        ),
    ] {
        check(&format!(
            "a queue q durable
             sync -> a: q has 0, 0 consumers
             a publish - q 1 2
             sync
             a tx -> a: TransactionsSelected
             a get q -> a: got#1 1, 1 left
             a get q -> a: got#2 2, 0 left
             sync
             a ack 1
             a publish - q 3
             a {end}
             crash
             b get q -> {left}"
        ));
    }
}

#[test]
fn a_rollback_forgets_publishes_and_makes_deliveries_outstanding_again() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q 1 2 3 4 5
         a tx -> a: TransactionsSelected
         a prefetch 4 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 1 2 3 4
         a ack 2
         a ack 2 -> a: refused UnknownDeliveryTag
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a tx -> a: TransactionsSelected
         a tx -> a: TransactionsSelected
         a prefetch 4 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 1' 2'; a: c#3 3' 4'
         a ack 2
         a reject 3
         a publish - q 6
         a rollback -> a: RolledBack
         a queue q passive -> a: q has 1, 1 consumers
         a ack-up-to 3
         a commit -> a: Committed; a: c#5 5
         a commit -> a: Committed
         a requeue 4
         a ack 5
         a publish - q 7
         a leave
         b get q -> b: got#1 4', 1 left
         b get q -> b: got#2 5', 0 left",
    );
}

#[test]
fn where_a_message_goes_is_decided_when_it_is_published_but_queues_are_named_at_the_commit() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a exchange x direct -> a: ExchangeDeclared
         a bind x q k -> a: QueueBound
         a tx -> a: TransactionsSelected
         a publish x k 1
         a publish x l 2
         a publish - late 3
         a unbind x q k -> a: QueueUnbound
         a bind x q l -> a: QueueBound
         a queue late -> a: late has 0, 0 consumers
         a commit -> a: Committed
         a get q -> a: got#1 1, 0 left
         a get late -> a: got#2 3, 0 left
         a publish x l 4 mandatory
         a publish - late 5 mandatory
         a delete q -> a: QueueDeleted
         a delete late -> a: QueueDeleted
         a commit -> a: returned 4; a: returned 5; a: Committed
         a publish missing k 6 -> a: refused NotFound",
    );
}

#[test]
fn transactions_and_confirms_exclude_each_other() {
    check(
        "a commit -> a: refused NotTransactional
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a rollback -> a: refused NotTransactional
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a confirms -> a: ConfirmsSelected
         a tx -> a: refused Confirming
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a tx -> a: TransactionsSelected
         a confirms -> a: refused Transactional",
    );
}

#[test]
fn a_direct_reply_goes_to_whoever_has_that_address_and_nowhere_else() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 -> a: Consuming
         b queue amq.rabbitmq.reply-to passive -> b: amq.rabbitmq.reply-to has 0, 1 consumers
         b queue amq.rabbitmq.reply-to.1 -> b: amq.rabbitmq.reply-to.1 has 0, 1 consumers
         b confirms -> b: ConfirmsSelected
         b publish - amq.rabbitmq.reply-to.1 1 mandatory -> a: r#1 1; b: confirmed 1-1
         b publish - amq.rabbitmq.reply-to.1 2 3 a-large-reply -> \
           a: r#2 2 3; a: r#4 a-large-reply; b: confirmed 2-4
         b publish amq.fanout amq.rabbitmq.reply-to.1 4 -> b: confirmed 5-5
         b publish - amq.rabbitmq.reply-to 5 mandatory -> b: returned 5; b: confirmed 6-6
         b queue q -> b: q has 0, 0 consumers
         b publish - q,amq.rabbitmq.reply-to.1 6 -> a: r#5 6; b: confirmed 7-7
         b publish - amq.rabbitmq.reply-to.1,amq.rabbitmq.reply-to.1 7 -> a: r#6 7; b: confirmed 8-8
         b get q -> b: got#1 6, 0 left
         a cancel r -> a: Cancelled
         b publish - amq.rabbitmq.reply-to.1 8 mandatory -> b: returned 8; b: confirmed 9-9
         a replies r amq.rabbitmq.reply-to.2 -> a: Consuming
         b publish - amq.rabbitmq.reply-to.1 9 -> b: confirmed 10-10
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         b publish - amq.rabbitmq.reply-to.2 10 -> b: confirmed 11-11
         b queue amq.rabbitmq.reply-to.2 passive -> b: refused NotFound",
    );
}

#[test]
fn a_reply_of_a_transaction_goes_at_the_commit() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 -> a: Consuming
         b tx -> b: TransactionsSelected
         b publish - amq.rabbitmq.reply-to.1 1
         b rollback -> b: RolledBack
         b publish - amq.rabbitmq.reply-to.1 2
         b commit -> a: r#1 2; b: Committed",
    );
}

#[test]
fn a_channel_consumes_replies_once_and_acknowledges_none() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 ack -> a: refused RepliesAcknowledged
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a queue q -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         a replies c amq.rabbitmq.reply-to.2 -> a: refused ConsumerTagTaken
         b publish - amq.rabbitmq.reply-to.2 1 mandatory -> b: returned 1
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a replies r amq.rabbitmq.reply-to.3 -> a: Consuming
         a replies s amq.rabbitmq.reply-to.4 -> a: refused RepliesConsumed
         b publish - amq.rabbitmq.reply-to.3 2 mandatory -> b: returned 2
         b publish - amq.rabbitmq.reply-to.4 3 mandatory -> b: returned 3",
    );
}

#[test]
fn a_full_queue_refuses_some_of_a_transaction_and_the_rest_is_done() {
    check(
        "a queue full durable x-max-length=1 x-overflow=reject-publish
         a queue q durable
         sync -> a: full has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q 1
         a tx -> a: TransactionsSelected
         a get q -> a: got#1 1, 0 left
         a ack 1
         a publish - full 2 3
         a publish - q 4
         a commit
         sync -> a: refused PartialTransaction
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a get full -> a: got#1 2, 0 left
         a get q -> a: got#2 4, 0 left",
    );
}
