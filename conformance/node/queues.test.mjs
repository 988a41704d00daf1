// Queues: declare, check, purge, delete, and when they go by themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useBroker } from './broker.mjs';
import { collect, drain, refused, text, until } from './waiting.mjs';

const broker = useBroker();

test('assertQueue tells name, messages and consumers', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('counted');
  const settings = { exclusive: true, durable: false };
  assert.deepEqual(await channel.assertQueue(queue, settings), {
    queue,
    messageCount: 0,
    consumerCount: 0,
  });
  for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
  await channel.waitForConfirms();
  await channel.get(queue);
  await channel.prefetch(1);
  assert.deepEqual(await channel.assertQueue(queue, settings), {
    queue,
    messageCount: 2,
    consumerCount: 0,
  });
  await (await collect(channel, queue)).atLeast(1);
  assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 1, consumerCount: 1 });
});

test('a queue without a name gets a unique one', async (t) => {
  const channel = await broker.confirmChannel(t);
  const names = new Set();
  for (let number = 0; number < 20; number += 1) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    assert.match(queue, /^amq\.gen-.{8,}/);
    names.add(queue);
  }
  assert.equal(names.size, 20);
  const [first] = names;
  channel.sendToQueue(first, Buffer.from('found'));
  assert.equal(text(await channel.get(first)), 'found');
});

test('an empty name means the queue declared last on the channel', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  await channel.bindQueue('', 'amq.direct', queue);
  channel.publish('amq.direct', queue, Buffer.from('one'));
  channel.publish('amq.direct', queue, Buffer.from('two'));
  assert.equal(text(await channel.get('', { noAck: true })), 'one');
  assert.equal((await channel.purgeQueue('')).messageCount, 1);
  await channel.consume('', () => {});
  assert.equal((await channel.checkQueue(queue)).consumerCount, 1);
  await channel.deleteQueue('');
  await refused(channel, 404, /NOT_FOUND/, () => channel.checkQueue(queue));
});

test('names may be any UTF-8', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = `${broker.name('ünïcödé')} 漢字 🐇`;
  assert.equal((await channel.assertQueue(queue, { exclusive: true })).queue, queue);
  channel.sendToQueue(queue, Buffer.from('found'));
  const message = await channel.get(queue);
  assert.equal(message.fields.routingKey, queue);
});

test('a name of 255 bytes is allowed', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('long').padEnd(255, '-');
  assert.equal((await channel.assertQueue(queue, { exclusive: true })).queue, queue);
});

test('declaring again with the same settings changes nothing', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('same');
  const settings = { exclusive: true, overflow: 'drop-head', queueMode: 'lazy' };
  await channel.assertQueue(queue, settings);
  channel.sendToQueue(queue, Buffer.from('kept'));
  await channel.waitForConfirms();
  assert.equal((await channel.assertQueue(queue, settings)).messageCount, 1);
});

test('the durable flag of an exclusive queue does not count', async (t) => {
  // No exclusive queue outlives its connection, so RabbitMQ takes all of them for transient.
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('exclusive');
  await channel.assertQueue(queue, { exclusive: true, durable: true });
  await channel.assertQueue(queue, { exclusive: true, durable: false });
});

test('the width of an integer argument does not matter', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('width');
  for (const type of ['int8', 'int16', 'int32', 'int64']) {
    await channel.assertQueue(queue, {
      exclusive: true,
      arguments: { 'x-queue-version': { '!': type, value: 1 } },
    });
  }
});

test('declaring again with other settings is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.confirmChannel(t, connection);
  const durable = broker.name('durable');
  await channel.assertQueue(durable, { overflow: 'drop-head' });
  const autoDelete = broker.name('auto-delete');
  await channel.assertQueue(autoDelete, { durable: false, autoDelete: true });
  for (const [what, queue, options] of [
    ['durable', durable, { durable: false, overflow: 'drop-head' }],
    ['auto_delete', durable, { autoDelete: true, overflow: 'drop-head' }],
    ['auto_delete', autoDelete, { durable: false, autoDelete: false }],
    ['x-overflow', durable, { overflow: 'reject-publish' }],
    ['x-overflow', durable, {}],
    ['x-queue-mode', durable, { overflow: 'drop-head', queueMode: 'lazy' }],
  ]) {
    const offender = await broker.channel(t, connection);
    const text = new RegExp(`PRECONDITION_FAILED - inequivalent arg '${what}' for queue '${queue}'`);
    await refused(offender, 406, text, () => offender.assertQueue(queue, options));
  }
  await channel.deleteQueue(durable);
  await channel.deleteQueue(autoDelete);
});

test('an argument of a wrong type or value is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  for (const [argument, value] of [
    ['x-message-ttl', -1],
    ['x-message-ttl', 'soon'],
    ['x-max-length', -1],
    ['x-max-length', 'many'],
    ['x-max-length-bytes', -1],
    ['x-expires', 0],
    ['x-expires', 'soon'],
    ['x-dead-letter-exchange', 7],
    ['x-overflow', 'spill'],
    ['x-queue-type', 'spiral'],
    ['x-max-priority', 256],
    ['x-max-priority', 'high'],
  ]) {
    const channel = await broker.confirmChannel(t, connection);
    await refused(channel, 406, new RegExp(`PRECONDITION_FAILED.*${argument}`), () =>
      channel.assertQueue(broker.name('wrong'), {
        durable: false,
        arguments: { [argument]: value },
      }),
    );
  }
});

test('arguments nobody knows are accepted', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = broker.name('unknown');
  await channel.assertQueue(queue, { exclusive: true, arguments: { 'x-nobody-knows': 'me', own: 1 } });
  await channel.assertQueue(queue, { exclusive: true, arguments: { own: 2 } });
});

test('checkQueue of a missing queue is refused with 404', async (t) => {
  const channel = await broker.confirmChannel(t);
  const missing = broker.name('missing');
  await refused(channel, 404, new RegExp(`NOT_FOUND - no queue '${missing}' in vhost '/'`), () =>
    channel.checkQueue(missing),
  );
});

test('purgeQueue tells how many, and leaves the unacknowledged', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  for (let number = 0; number < 10; number += 1) {
    channel.sendToQueue(queue, Buffer.from(String(number)));
  }
  await channel.waitForConfirms();
  const held = await channel.get(queue);
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 9 });
  channel.nack(held);
  assert.deepEqual((await drain(channel, queue)).map(text), ['0']);
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 0 });
});

test('purgeQueue of a missing queue is refused with 404', async (t) => {
  const channel = await broker.confirmChannel(t);
  await refused(channel, 404, /NOT_FOUND - no queue/, () => channel.purgeQueue(broker.name('missing')));
});

test('deleteQueue tells how many messages went, and takes the bindings along', async (t) => {
  const channel = await broker.confirmChannel(t);
  const exchange = await broker.exchange(channel, 'fanout');
  const queue = await broker.queue(channel, [exchange, '']);
  channel.publish(exchange, '', Buffer.from('a'));
  channel.publish(exchange, '', Buffer.from('b'));
  await channel.waitForConfirms();
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 2 });

  await channel.assertQueue(queue, { exclusive: true, durable: false });
  channel.publish(exchange, '', Buffer.from('c'));
  await channel.waitForConfirms();
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
});

test('deleteQueue of a missing queue succeeds', async (t) => {
  const channel = await broker.confirmChannel(t);
  assert.deepEqual(await channel.deleteQueue(broker.name('missing')), { messageCount: 0 });
});

test('deleteQueue ifUnused is refused with 406 while there are consumers', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.confirmChannel(t, connection);
  const queue = await broker.queue(channel);
  const { consumerTag } = await collect(channel, queue);
  const offender = await broker.channel(t, connection);
  await refused(offender, 406, /PRECONDITION_FAILED.*in use/, () =>
    offender.deleteQueue(queue, { ifUnused: true }),
  );
  await channel.cancel(consumerTag);
  await channel.deleteQueue(queue, { ifUnused: true });
});

test('deleteQueue ifEmpty is refused with 406 while there are messages', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.confirmChannel(t, connection);
  const queue = await broker.queue(channel);
  channel.sendToQueue(queue, Buffer.from('full'));
  await channel.waitForConfirms();
  assert.equal((await channel.checkQueue(queue)).messageCount, 1);
  const offender = await broker.channel(t, connection);
  await refused(offender, 406, /PRECONDITION_FAILED.*not empty/, () =>
    offender.deleteQueue(queue, { ifEmpty: true }),
  );
  await channel.purgeQueue(queue);
  await channel.deleteQueue(queue, { ifEmpty: true });
});

test('a delivery of a deleted queue can still be acknowledged', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  channel.sendToQueue(queue, Buffer.from('orphan'));
  const message = await channel.get(queue);
  await channel.deleteQueue(queue);
  channel.ack(message);
  await broker.queue(channel);
});

test('an exclusive queue goes with its connection', async (t) => {
  const owner = await broker.connect(t);
  const queue = await broker.queue(await broker.channel(t, owner));
  await owner.close();
  const channel = await broker.confirmChannel(t);
  await refused(channel, 404, /NOT_FOUND/, () => channel.checkQueue(queue));
});

test('an auto-delete queue goes with its last consumer, and not before the first', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.confirmChannel(t, connection);
  const queue = broker.name('auto-delete');
  await channel.assertQueue(queue, { autoDelete: true, durable: false });
  channel.sendToQueue(queue, Buffer.from('stays'));
  await channel.waitForConfirms();
  assert.equal((await channel.checkQueue(queue)).messageCount, 1);
  const first = await collect(channel, queue);
  const second = await collect(channel, queue);
  await channel.cancel(first.consumerTag);
  await channel.checkQueue(queue);
  await channel.cancel(second.consumerTag);
  await refused(channel, 404, /NOT_FOUND/, () => channel.checkQueue(queue));
});

test('an auto-delete queue goes when the channel of its last consumer closes', async (t) => {
  const connection = await broker.connect(t);
  const consuming = await broker.channel(t, connection);
  const queue = broker.name('auto-delete');
  await consuming.assertQueue(queue, { autoDelete: true, durable: false });
  await collect(consuming, queue);
  await consuming.close();
  await until(async () => {
    const channel = await broker.confirmChannel(t, connection);
    return channel.checkQueue(queue).then(() => false, ({ code }) => code === 404);
  }, 'the end of the auto-delete queue');
});
