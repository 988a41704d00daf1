// What RabbitMQ added to AMQP 0-9-1, as amqplib's users see it: dead letters, TTL, limits, priorities,
// single active consumer, cancel notify, direct reply-to, quorum queues.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { useBroker } from './broker.mjs';
import { collect, drain, refused, soon, text, until } from './waiting.mjs';

const broker = useBroker();

/** A channel that confirms, a queue with these options, and a way to send to it and be sure. */
async function withQueue(t, options = {}) {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('queue');
  await channel.assertQueue(queue, { durable: false, ...options });
  t.after(async () => (await broker.channel(t)).deleteQueue(queue));
  const send = async (body, properties) => {
    const confirm = new Promise((resolve, reject) => {
      channel.sendToQueue(queue, Buffer.from(body), properties, (error) => (error ? reject(error) : resolve()));
    });
    await soon(confirm, `the confirm of ${body}`);
  };
  return { channel, queue, send };
}

const count = async (channel, queue) => (await channel.checkQueue(queue)).messageCount;

/** The queue that the dead letters of a `withQueue` go to. */
async function dead(t) {
  const { channel, queue } = await withQueue(t);
  return {
    channel,
    queue,
    options: { deadLetterExchange: '', deadLetterRoutingKey: queue },
    async take() {
      await until(async () => (await count(channel, queue)) > 0, 'a dead letter');
      return channel.get(queue, { noAck: true });
    },
  };
}

test('a rejected message goes to the dead-letter exchange with its history', async (t) => {
  const letters = await dead(t);
  const { channel, queue, send } = await withQueue(t, letters.options);
  const before = Math.floor(Date.now() / 1000);
  await send('bad', { headers: { mine: 1 }, contentType: 'text/plain' });
  channel.nack(await channel.get(queue), false, false);
  const letter = await letters.take();
  assert.equal(text(letter), 'bad');
  assert.equal(letter.properties.contentType, 'text/plain');
  const { mine, 'x-death': deaths, ...firsts } = letter.properties.headers;
  assert.equal(mine, 1);
  assert.equal(deaths.length, 1);
  const { time, ...death } = deaths[0];
  assert.deepEqual(death, { count: 1, reason: 'rejected', queue, exchange: '', 'routing-keys': [queue] });
  assert.equal(time['!'], 'timestamp');
  assert.ok(Math.abs(time.value - before) <= 2, `died at ${time.value}, asked at ${before}`);
  for (const [name, value] of [['reason', 'rejected'], ['queue', queue], ['exchange', '']]) {
    assert.equal(firsts[`x-first-death-${name}`], value);
  }
});

test('deaths are counted by queue and reason, the newest first', async (t) => {
  // A retry as people build it: what is rejected waits in another queue until it expires, and returns.
  const work = broker.name('work');
  const waiting = await withQueue(t, { messageTtl: 30, deadLetterExchange: '', deadLetterRoutingKey: work });
  const { channel, queue: parked } = waiting;
  await channel.assertQueue(work, { durable: false, deadLetterExchange: '', deadLetterRoutingKey: parked });
  t.after(async () => (await broker.channel(t)).deleteQueue(work));
  channel.sendToQueue(work, Buffer.from('again'));
  for (const round of [0, 1, 2]) {
    await until(async () => (await count(channel, work)) === 1, 'the return of the message');
    const message = await channel.get(work);
    const deaths = message.properties.headers['x-death'] ?? [];
    assert.deepEqual(
      deaths.map(({ queue, reason, count: times }) => [queue, reason, times]),
      round === 0 ? [] : [[parked, 'expired', round], [work, 'rejected', round]],
    );
    channel.nack(message, false, false);
  }
});

test('a message that expires goes to the dead-letter exchange without its expiration', async (t) => {
  const letters = await dead(t);
  const { channel, queue, send } = await withQueue(t, letters.options);
  await send('short', { expiration: '50' });
  const { properties } = await letters.take();
  assert.equal(properties.expiration, undefined);
  const [death] = properties.headers['x-death'];
  assert.equal(death.reason, 'expired');
  assert.equal(death['original-expiration'], '50');
  assert.equal(await count(channel, queue), 0);
});

test('messageTtl drops what is older', async (t) => {
  const { channel, queue, send } = await withQueue(t, { messageTtl: 100 });
  await send('old');
  assert.equal(await count(channel, queue), 1);
  await until(async () => (await count(channel, queue)) === 0, 'the end of the message');
  await send('new');
  assert.equal(text(await channel.get(queue)), 'new');
});

test('an expiration that is no number is refused with 406', async (t) => {
  const { channel, queue } = await withQueue(t);
  await refused(channel, 406, /expiration/i, () => channel.sendToQueue(queue, Buffer.from('m'), { expiration: 'soon' }));
});

test('expires deletes a queue that nobody uses', async (t) => {
  const { channel, queue } = await withQueue(t, { expires: 100 });
  await sleep(400);
  await refused(channel, 404, /no queue/, () => channel.checkQueue(queue));
});

test('maxLength drops the oldest, or moves it', async (t) => {
  const letters = await dead(t);
  const { channel, queue, send } = await withQueue(t, { maxLength: 2, ...letters.options });
  for (const body of 'abc') await send(body);
  assert.deepEqual((await drain(channel, queue)).map(text), ['b', 'c']);
  const letter = await letters.take();
  assert.equal(text(letter), 'a');
  assert.equal(letter.properties.headers['x-death'][0].reason, 'maxlen');
});

test('reject-publish answers with nack', async (t) => {
  const { channel, queue, send } = await withQueue(t, {
    maxLength: 1,
    arguments: { 'x-overflow': 'reject-publish' },
  });
  await send('fits');
  await assert.rejects(send('does not'), /nack/);
  assert.deepEqual((await drain(channel, queue)).map(text), ['fits']);
  await send('fits again');
});

test('maxPriority hands out the most urgent first', async (t) => {
  const { channel, queue, send } = await withQueue(t, { maxPriority: 5 });
  for (const [body, priority] of [['b', 1], ['e', undefined], ['a', 5], ['c', 1], ['a2', 200], ['d', 0]]) {
    await send(body, { priority });
  }
  assert.deepEqual((await drain(channel, queue)).map(text), ['a', 'a2', 'b', 'c', 'e', 'd']);
});

test('a consumer of a higher priority is served first, while it has room', async (t) => {
  const { channel, queue, send } = await withQueue(t);
  await channel.prefetch(1);
  const low = await collect(channel, queue, { priority: -1 });
  const high = await collect(channel, queue, { priority: 10 });
  await send('one');
  await high.exactly(1);
  await send('two');
  await low.exactly(1);
  channel.ack(high.messages[0]);
  await send('three');
  await high.exactly(2);
  assert.deepEqual([high.bodies(), low.bodies()], [['one', 'three'], ['two']]);
});

test('a single active consumer is followed by the next', async (t) => {
  const { channel, queue, send } = await withQueue(t, { arguments: { 'x-single-active-consumer': true } });
  const first = await collect(channel, queue, { noAck: true });
  const second = await collect(channel, queue, { noAck: true });
  for (const body of 'ab') await send(body);
  await first.exactly(2);
  await channel.cancel(first.consumerTag);
  await send('c');
  await second.exactly(1);
  assert.deepEqual([first.bodies(), second.bodies()], [['a', 'b'], ['c']]);
});

test('an exclusive consumer keeps others out', async (t) => {
  const { channel, queue } = await withQueue(t);
  await collect(channel, queue, { exclusive: true });
  const other = await broker.channel(t);
  await refused(other, 403, /exclusive/, () => other.consume(queue, () => {}));
});

test('a consumer is told when its queue is deleted', async (t) => {
  const { channel, queue } = await withQueue(t);
  const consumer = await collect(channel, queue);
  await (await broker.channel(t)).deleteQueue(queue);
  await consumer.atLeast(1);
  assert.deepEqual(consumer.messages, [null]);
});

test('direct reply-to answers without a queue', async (t) => {
  const server = await withQueue(t);
  await server.channel.consume(
    server.queue,
    ({ content, properties: { replyTo, correlationId } }) => {
      assert.match(replyTo, /^amq\.rabbitmq\.reply-to\..+/);
      server.channel.sendToQueue(replyTo, Buffer.from(`re: ${content}`), { correlationId });
    },
    { noAck: true },
  );
  const channel = await broker.channel(t);
  const replies = await collect(channel, 'amq.rabbitmq.reply-to', { noAck: true });
  for (const correlationId of ['1', '2']) {
    channel.sendToQueue(server.queue, Buffer.from(`question ${correlationId}`), {
      replyTo: 'amq.rabbitmq.reply-to',
      correlationId,
    });
  }
  await replies.exactly(2);
  assert.deepEqual(replies.bodies(), ['re: question 1', 're: question 2']);
  assert.deepEqual(replies.messages.map(({ properties }) => properties.correlationId), ['1', '2']);
});

test('direct reply-to wants its consumer first', async (t) => {
  const { channel, queue } = await withQueue(t);
  await refused(channel, 406, /fast reply consumer does not exist/, () =>
    channel.sendToQueue(queue, Buffer.from('m'), { replyTo: 'amq.rabbitmq.reply-to' }));
});

const QUORUM = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

test('a quorum queue counts deliveries', async (t) => {
  const { channel, queue, send } = await withQueue(t, QUORUM);
  await send('m');
  for (const deliveries of [0, 1, 2]) {
    const message = await channel.get(queue);
    // RabbitMQ 3 says 0 at first, where others say nothing.
    assert.equal((message.properties.headers ?? {})['x-delivery-count'] ?? 0, deliveries);
    channel.reject(message, true);
    await until(async () => (await count(channel, queue)) === 1, 'the return of the message');
  }
});

test('a quorum queue gives a message up after its delivery limit', async (t) => {
  const letters = await dead(t);
  const { channel, queue, send } = await withQueue(t, {
    ...letters.options,
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
  });
  await send('poison');
  const consumed = [];
  await channel.consume(queue, (message) => {
    consumed.push(message.fields.redelivered);
    channel.reject(message, true);
  });
  const letter = await letters.take();
  assert.deepEqual(consumed, [false, true, true]);
  assert.equal(letter.properties.headers['x-death'][0].reason, 'delivery_limit');
});

test('a quorum queue is durable and not exclusive', async (t) => {
  for (const options of [{ durable: false }, { exclusive: true }]) {
    const channel = await broker.channel(t);
    await refused(channel, 406, /invalid property/, () =>
      channel.assertQueue(broker.name('queue'), { ...QUORUM, ...options }));
  }
});

test('arguments must be as they were, and make sense', async (t) => {
  const { channel, queue } = await withQueue(t, { messageTtl: 1000 });
  assert.equal((await channel.assertQueue(queue, { durable: false, messageTtl: 1000 })).queue, queue);
  await refused(channel, 406, /x-message-ttl/, () => channel.assertQueue(queue, { durable: false, messageTtl: 2000 }));
  for (const options of [
    { messageTtl: -1 },
    { expires: 0 },
    { maxLength: -5 },
    { maxPriority: 256 },
    { arguments: { 'x-overflow': 'spill' } },
    { arguments: { 'x-queue-type': 'round' } },
    { deadLetterRoutingKey: 'without an exchange' },
  ]) {
    const other = await broker.channel(t);
    await refused(other, 406, /PRECONDITION/, () => other.assertQueue(broker.name('queue'), { durable: false, ...options }));
  }
});

test('an alternate exchange takes what has no other way', async (t) => {
  const channel = await broker.confirmChannel(t);
  const leftover = await broker.exchange(channel, 'fanout');
  const exchange = await broker.exchange(channel, 'direct', { alternateExchange: leftover });
  const rest = await broker.queue(channel, [leftover, '']);
  const chosen = await broker.queue(channel, [exchange, 'known']);
  for (const key of ['known', 'unknown']) channel.publish(exchange, key, Buffer.from(key), { mandatory: true });
  await channel.waitForConfirms();
  assert.deepEqual((await drain(channel, chosen)).map(text), ['known']);
  assert.deepEqual((await drain(channel, rest)).map(text), ['unknown']);
});

test('a user id that is not the user’s own is refused', async (t) => {
  const { channel, queue, send } = await withQueue(t);
  await send('honest', { userId: 'guest' });
  await refused(channel, 406, /user_id/, () => channel.sendToQueue(queue, Buffer.from('m'), { userId: 'somebody' }));
  assert.equal((await (await broker.channel(t)).get(queue)).properties.userId, 'guest');
});
