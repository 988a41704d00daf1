// Channels: independence, errors that close one and no other, and numbers used again.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useBroker } from './broker.mjs';
import { collect, refused, soon, text } from './waiting.mjs';

const broker = useBroker();

test('a channel opens and closes', async (t) => {
  const connection = await broker.connect(t);
  const channel = await connection.createChannel();
  await channel.close();
  assert.throws(() => channel.sendToQueue('x', Buffer.alloc(0)), { name: 'IllegalOperationError' });
});

test('a channel number is used again after close', async (t) => {
  const connection = await broker.connect(t);
  const first = await connection.createChannel();
  const number = first.ch;
  await first.close();
  for (let round = 0; round < 20; round += 1) {
    const again = await connection.createChannel();
    assert.equal(again.ch, number);
    await broker.queue(again);
    await again.close();
  }
});

test('404 closes the channel, tells method and class, and frees the number', async (t) => {
  const connection = await broker.connect(t);
  const bystander = await broker.channel(t, connection);
  const channel = await broker.channel(t, connection);
  const missing = broker.name('missing');
  const error = await refused(channel, 404, new RegExp(`404 \\(NOT-FOUND\\).*NOT_FOUND.*${missing}`), () =>
    channel.checkQueue(missing),
  );
  assert.deepEqual([error.classId, error.methodId], [50, 10], 'queue.declare');
  await broker.queue(bystander);

  const again = await broker.channel(t, connection);
  assert.equal(again.ch, channel.ch);
  const queue = await broker.queue(again);
  again.sendToQueue(queue, Buffer.from('works'));
  const inbox = await collect(again, queue, { noAck: true });
  assert.equal(text((await inbox.atLeast(1))[0]), 'works');
});

test('405 for an exclusive queue of another connection', async (t) => {
  const owner = await broker.channel(t);
  const queue = await broker.queue(owner, ['amq.direct', 'key']);
  const connection = await broker.connect(t);
  for (const [what, use] of [
    ['declare', (channel) => channel.assertQueue(queue, { exclusive: true, durable: false })],
    ['passive declare', (channel) => channel.checkQueue(queue)],
    ['consume', (channel) => channel.consume(queue, () => {})],
    ['get', (channel) => channel.get(queue)],
    ['purge', (channel) => channel.purgeQueue(queue)],
    ['bind', (channel) => channel.bindQueue(queue, 'amq.direct', 'key')],
    ['unbind', (channel) => channel.unbindQueue(queue, 'amq.direct', 'key')],
    ['delete', (channel) => channel.deleteQueue(queue)],
  ]) {
    await t.test(what, async () => {
      const channel = await broker.channel(t, connection);
      await refused(channel, 405, /405 \(RESOURCE-LOCKED\).*RESOURCE_LOCKED/, () => use(channel));
    });
  }
  await owner.checkQueue(queue);
});

test('an exclusive queue serves the other channels of its connection', async (t) => {
  const connection = await broker.connect(t);
  const queue = await broker.queue(await broker.channel(t, connection));
  const other = await broker.channel(t, connection);
  other.sendToQueue(queue, Buffer.from('shared'));
  assert.equal(text(await other.get(queue, { noAck: true })), 'shared');
});

test('406 for a queue declared again with other settings', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = broker.name('transient');
  await channel.assertQueue(queue, { durable: false });
  const offender = await broker.channel(t, connection);
  await refused(offender, 406, /406 \(PRECONDITION-FAILED\).*durable.*true.*false/, () =>
    offender.assertQueue(queue, { durable: true }),
  );
  await channel.deleteQueue(queue);
});

test('403 for a reserved name', async (t) => {
  const connection = await broker.connect(t);
  const forQueue = await broker.channel(t, connection);
  await refused(forQueue, 403, /403 \(ACCESS-REFUSED\).*amq\.mine/, () => forQueue.assertQueue('amq.mine'));
  const forExchange = await broker.channel(t, connection);
  await refused(forExchange, 403, /403 \(ACCESS-REFUSED\).*amq\.mine/, () =>
    forExchange.assertExchange('amq.mine', 'direct'),
  );
});

test('what is sent after the error is ignored, and not carried out', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  const offender = await broker.channel(t, connection);
  await refused(offender, 404, /no exchange/, () => {
    offender.publish(broker.name('missing'), 'key', Buffer.from('lost'));
    for (let number = 0; number < 100; number += 1) {
      offender.sendToQueue(queue, Buffer.alloc(1000, number));
    }
  });
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
});

test('operations that wait when the channel is closed are rejected', async (t) => {
  const channel = await broker.channel(t);
  const operations = [
    channel.checkQueue(broker.name('missing')),
    channel.assertQueue(broker.name('never'), { exclusive: true }),
    channel.checkExchange('amq.direct'),
  ];
  const [first, ...others] = await soon(Promise.allSettled(operations), 'the answers');
  assert.equal(first.reason.code, 404);
  for (const other of others) assert.match(other.reason.message, /no reply will be forthcoming/);
});

test('closing a channel gives its unacknowledged messages back', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
  const holder = await broker.channel(t, connection);
  await (await collect(holder, queue)).atLeast(3);
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  await holder.close();
  const { messageCount, consumerCount } = await channel.checkQueue(queue);
  assert.deepEqual([messageCount, consumerCount], [3, 0]);
  const inbox = await collect(channel, queue);
  await inbox.atLeast(3);
  assert.deepEqual(inbox.bodies(), ['a', 'b', 'c']);
  assert.ok(inbox.messages.every(({ fields }) => fields.redelivered));
});

test('delivery tags count per channel', async (t) => {
  const connection = await broker.connect(t);
  for (let number = 0; number < 3; number += 1) {
    const channel = await broker.channel(t, connection);
    const queue = await broker.queue(channel);
    const inbox = await collect(channel, queue);
    for (const body of ['a', 'b']) channel.sendToQueue(queue, Buffer.from(body));
    const messages = await inbox.atLeast(2);
    assert.deepEqual(messages.map(({ fields }) => fields.deliveryTag), [1, 2]);
    assert.ok(messages.every(({ fields }) => fields.consumerTag === inbox.consumerTag));
  }
});

test('methods of a channel take effect in the order they were sent', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  for (let round = 0; round < 50; round += 1) {
    channel.sendToQueue(queue, Buffer.from('one'));
    channel.sendToQueue(queue, Buffer.from('two'));
    assert.equal((await channel.purgeQueue(queue)).messageCount, 2);
  }
});
