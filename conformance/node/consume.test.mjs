// Consuming: tags, cancel by either side, prefetch, exclusiveness, fairness.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { useBroker } from './broker.mjs';
import { collect, drain, refused, soon, text, until } from './waiting.mjs';

const broker = useBroker();

async function send(channel, queue, count, from = 0) {
  for (let number = from; number < from + count; number += 1) {
    channel.sendToQueue(queue, Buffer.from(String(number)));
  }
  await channel.waitForConfirms();
}

const numbers = (count, from = 0) => Array.from({ length: count }, (_, index) => String(from + index));

test('a consumer may name its tag, or gets one', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  assert.deepEqual(await channel.consume(queue, () => {}, { consumerTag: 'mine' }), {
    consumerTag: 'mine',
  });
  const tags = new Set();
  for (let number = 0; number < 10; number += 1) {
    const { consumerTag } = await channel.consume(queue, () => {});
    assert.match(consumerTag, /^amq\.ctag-/);
    tags.add(consumerTag);
  }
  assert.equal(tags.size, 10);
  assert.equal((await channel.checkQueue(queue)).consumerCount, 11);
});

test('consuming from a missing queue is refused with 404', async (t) => {
  const channel = await broker.channel(t);
  await refused(channel, 404, /NOT_FOUND - no queue/, () =>
    channel.consume(broker.name('missing'), () => {}),
  );
});

test('a backlog is delivered complete and in order', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await send(channel, queue, 5000);
  const inbox = await collect(channel, queue, { noAck: true });
  await inbox.exactly(5000);
  assert.deepEqual(inbox.bodies(), numbers(5000));
});

test('cancel ends the deliveries and leaves the unacknowledged with the channel', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const inbox = await collect(channel, queue);
  await send(channel, queue, 3);
  const messages = await inbox.atLeast(3);
  assert.deepEqual(await channel.cancel(inbox.consumerTag), { consumerTag: inbox.consumerTag });
  await send(channel, queue, 2, 3);
  assert.deepEqual(
    await channel.checkQueue(queue).then(({ messageCount, consumerCount }) => [messageCount, consumerCount]),
    [2, 0],
  );
  for (const message of messages) channel.ack(message);
  assert.deepEqual((await drain(channel, queue)).map(text), ['3', '4']);
});

test('cancelling an unknown tag succeeds', async (t) => {
  const channel = await broker.channel(t);
  assert.deepEqual(await channel.cancel('nobody'), { consumerTag: 'nobody' });
});

test('a cancelled tag can be used again', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  for (let round = 0; round < 5; round += 1) {
    const inbox = await collect(channel, queue, { consumerTag: 'again', noAck: true });
    await send(channel, queue, 1, round);
    await inbox.exactly(1);
    assert.deepEqual(inbox.bodies(), [String(round)]);
    await channel.cancel('again');
  }
});

test('a consumer is told null when its queue is deleted', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.confirmChannel(t, connection);
  const queue = await broker.queue(channel);
  const other = await broker.channel(t, connection);
  const here = await collect(channel, queue);
  const there = await collect(other, queue);
  await channel.deleteQueue(queue);
  assert.deepEqual(await here.exactly(1), [null]);
  assert.deepEqual(await there.exactly(1), [null]);
  await broker.queue(other);
});

test('prefetch bounds each consumer that follows', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(3);
  const first = await collect(channel, queue);
  await channel.prefetch(5);
  const second = await collect(channel, queue);
  await send(channel, queue, 20);
  await first.exactly(3);
  await second.exactly(5);
  assert.equal((await channel.checkQueue(queue)).messageCount, 12);

  channel.ack(first.messages[0]);
  await first.exactly(4);
  assert.equal(second.messages.length, 5);
});

test('global prefetch bounds all consumers of the channel together', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(4, true);
  const first = await collect(channel, queue);
  const second = await collect(channel, queue);
  await send(channel, queue, 20);
  const received = () => [...first.messages, ...second.messages];
  await until(() => received().length >= 4, 'four deliveries');
  await sleep(50);
  assert.equal(received().length, 4);

  channel.ack(received()[0]);
  await until(() => received().length >= 5, 'a fifth delivery');
  await channel.prefetch(7, true);
  await until(() => received().length >= 8, 'eight deliveries');
  await sleep(50);
  assert.equal(received().length, 8);
});

test('a global and a consumer’s prefetch hold together', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  // In this order: RabbitMQ lets go of a global bound when a consumer's is set after it.
  await channel.prefetch(3);
  await channel.prefetch(5, true);
  const first = await collect(channel, queue);
  await send(channel, queue, 20);
  await first.exactly(3);
  const second = await collect(channel, queue);
  await second.exactly(2);
  assert.equal(first.messages.length, 3);
});

test('prefetch 0 is no bound', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(1);
  await channel.prefetch(0);
  const inbox = await collect(channel, queue);
  await send(channel, queue, 500);
  await inbox.exactly(500);
});

test('with noAck a message is gone once sent, and prefetch does not bind', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(1);
  const inbox = await collect(channel, queue, { noAck: true });
  await send(channel, queue, 100);
  await inbox.exactly(100);
  await channel.cancel(inbox.consumerTag);
  await channel.recover();
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
});

test('get does not mind the prefetch', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(1, true);
  await channel.prefetch(1);
  await send(channel, queue, 3);
  const remaining = [];
  for (let number = 0; number < 3; number += 1) {
    const { fields, content } = await channel.get(queue);
    assert.equal(content.toString(), String(number));
    assert.deepEqual([fields.exchange, fields.routingKey, fields.redelivered], ['', queue, false]);
    remaining.push(fields.messageCount);
  }
  assert.deepEqual(remaining, [2, 1, 0]);
  assert.equal(await channel.get(queue), false);
});

test('get from a missing queue is refused with 404', async (t) => {
  const channel = await broker.channel(t);
  await refused(channel, 404, /NOT_FOUND - no queue/, () => channel.get(broker.name('missing')));
});

test('an exclusive consumer keeps others out with 403, and is refused where others are', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  const { consumerTag } = await channel.consume(queue, () => {}, { exclusive: true });
  const kept = await broker.channel(t, connection);
  await refused(kept, 403, /ACCESS_REFUSED.*exclusive/, () => kept.consume(queue, () => {}));

  await channel.cancel(consumerTag);
  await channel.consume(queue, () => {});
  const late = await broker.channel(t, connection);
  await refused(late, 403, /ACCESS_REFUSED.*exclusive/, () =>
    late.consume(queue, () => {}, { exclusive: true }),
  );
});

test('consumers with credit are served in turn', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const inboxes = [];
  for (let number = 0; number < 4; number += 1) inboxes.push(await collect(channel, queue));
  await send(channel, queue, 400);
  for (const inbox of inboxes) await inbox.exactly(100);
});

test('a consumer without credit is passed over', async (t) => {
  const connection = await broker.connect(t);
  const stuck = await broker.confirmChannel(t, connection);
  const queue = await broker.queue(stuck);
  await stuck.prefetch(1);
  const full = await collect(stuck, queue);
  const channel = await broker.confirmChannel(t, connection);
  const served = await collect(channel, queue, { noAck: true });
  await send(channel, queue, 100);
  await served.exactly(99);
  assert.equal(full.messages.length, 1);
});

test('many consumers on one channel, and on one queue, all work', async (t) => {
  const channel = await broker.confirmChannel(t);
  const shared = await broker.queue(channel);
  const inboxes = [];
  for (let number = 0; number < 100; number += 1) {
    const own = await broker.queue(channel);
    inboxes.push([await collect(channel, own), await collect(channel, shared), own]);
  }
  for (const [, , own] of inboxes) channel.sendToQueue(own, Buffer.from(own));
  await send(channel, shared, 200);
  for (const [own, ofShared] of inboxes) await Promise.all([own.atLeast(1), ofShared.atLeast(2)]);
  await sleep(50);
  for (const [own, ofShared, name] of inboxes) {
    assert.deepEqual(own.bodies(), [name]);
    assert.equal(ofShared.messages.length, 2);
  }
});

test('a program may consume and publish on the same channel', async (t) => {
  const channel = await broker.confirmChannel(t);
  const requests = await broker.queue(channel);
  const replies = await broker.queue(channel);
  await channel.consume(requests, (message) => {
    const { replyTo, correlationId } = message.properties;
    channel.sendToQueue(replyTo, Buffer.from(text(message).toUpperCase()), { correlationId });
    channel.ack(message);
  });
  const inbox = await collect(channel, replies, { noAck: true });
  for (let number = 0; number < 100; number += 1) {
    channel.sendToQueue(requests, Buffer.from(`call ${number}`), {
      replyTo: replies,
      correlationId: String(number),
    });
  }
  const messages = await inbox.exactly(100);
  for (const [number, message] of messages.entries()) {
    assert.equal(text(message), `CALL ${number}`);
    assert.equal(message.properties.correlationId, String(number));
  }
});

test('a consumer that stops in the middle leaves the rest to others', async (t) => {
  const publisher = await broker.confirmChannel(t);
  const queue = broker.name('handover');
  await publisher.assertQueue(queue, { durable: false });
  await send(publisher, queue, 100);
  const leaving = await broker.connect(t);
  const first = await leaving.createChannel();
  await first.prefetch(10);
  const seen = new Set();
  const half = new Promise((resolve) => {
    first.consume(queue, (message) => {
      if (seen.size === 50) return resolve();
      seen.add(text(message));
      first.ack(message);
    });
  });
  await soon(half, 'half of the messages');
  // amqplib may send connection.close ahead of acknowledgements that wait on a channel.
  await first.close();
  await leaving.close();

  const inbox = await collect(publisher, queue, { noAck: true });
  await inbox.exactly(50);
  for (const body of inbox.bodies()) {
    assert.ok(!seen.has(body), `${body} came twice`);
    seen.add(body);
  }
  assert.equal(seen.size, 100);
  await publisher.deleteQueue(queue);
});
