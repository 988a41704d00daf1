// Many channels, many connections, and a flood that must push back rather than pile up.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useBroker } from './broker.mjs';
import { collect, soon, text } from './waiting.mjs';

const broker = useBroker();

const BATCH = 50;

/** Runs `make` for 0 to `count` - 1, BATCH at a time, and gives back all results in order. */
async function inBatches(count, make) {
  const results = [];
  while (results.length < count) {
    const from = results.length;
    const size = Math.min(BATCH, count - from);
    results.push(...(await Promise.all(Array.from({ length: size }, (_, index) => make(from + index)))));
  }
  return results;
}

test('500 channels of one connection work side by side', async (t) => {
  const connection = await broker.connect(t);
  const shared = await broker.queue(await broker.channel(t, connection));
  const channels = await inBatches(500, async () => {
    const channel = await broker.confirmChannel(t, connection);
    const queue = await broker.queue(channel);
    return { channel, queue, inbox: await collect(channel, queue, { noAck: true }) };
  });
  assert.equal(new Set(channels.map(({ channel }) => channel.ch)).size, 500);
  for (const { channel, queue } of channels) {
    channel.sendToQueue(queue, Buffer.from(queue));
    channel.sendToQueue(shared, Buffer.from(queue));
  }
  for (const { channel, queue, inbox } of channels) {
    await channel.waitForConfirms();
    assert.equal(text((await inbox.atLeast(1))[0]), queue);
  }
  assert.equal((await channels[0].channel.checkQueue(shared)).messageCount, 500);
});

test('200 connections work side by side', async (t) => {
  const hub = broker.name('hub');
  const first = await broker.confirmChannel(t);
  await first.assertQueue(hub, { durable: false });
  const inbox = await collect(first, hub, { noAck: true });
  const clients = await inBatches(200, async (number) => {
    const connection = await broker.connect(t);
    const channel = await broker.confirmChannel(t, connection);
    const queue = await broker.queue(channel);
    return { channel, queue, number, inbox: await collect(channel, queue, { noAck: true }) };
  });
  await inBatches(200, async (number) => {
    const { channel, queue } = clients[number];
    channel.sendToQueue(hub, Buffer.from(queue));
    await channel.waitForConfirms();
  });
  await inbox.exactly(200);
  for (const queue of inbox.bodies()) first.sendToQueue(queue, Buffer.from(`answer to ${queue}`));
  for (const { queue, inbox: answers } of clients) {
    assert.equal(text((await answers.atLeast(1))[0]), `answer to ${queue}`);
  }
  await first.deleteQueue(hub);
});

test('connections and channels that come and go leave nothing behind', async (t) => {
  const watcher = await broker.channel(t);
  const queue = broker.name('visited');
  await watcher.assertQueue(queue, { durable: false });
  await inBatches(100, async () => {
    const connection = await broker.connect(t);
    const channel = await broker.channel(t, connection);
    await channel.consume(queue, () => {});
    await connection.close();
  });
  assert.equal((await watcher.checkQueue(queue)).consumerCount, 0);
  await watcher.deleteQueue(queue);
});

test('a flood makes publish answer false, and drain comes', { timeout: 60_000 }, async (t) => {
  const messages = 20_000;
  const body = Buffer.alloc(4096, 'flood');
  const publisher = await broker.confirmChannel(t);
  const queue = broker.name('flood');
  await publisher.assertQueue(queue, { durable: false });
  const consumer = await broker.channel(t);
  await consumer.prefetch(200);
  let expected = 0;
  let drains = 0;
  const consumed = new Promise((resolve, reject) => {
    consumer.consume(queue, (message) => {
      if (message === null) return; // the queue is deleted at the end
      if (message.content.length !== body.length || message.properties.messageId !== String(expected)) {
        return reject(new Error(`message ${message.properties.messageId} in place of ${expected}`));
      }
      consumer.ack(message);
      expected += 1;
      if (expected === messages) resolve();
    });
  });
  for (let number = 0; number < messages; number += 1) {
    const room = publisher.sendToQueue(queue, body, { messageId: String(number) });
    if (room) continue;
    drains += 1;
    await soon(new Promise((resolve) => publisher.once('drain', resolve)), 'drain');
  }
  await publisher.waitForConfirms();
  await soon(consumed, 'the last message', 30_000);
  assert.ok(drains > 0, 'publish never answered false');
  await consumer.deleteQueue(queue);
});

test('a flood on one connection does not keep another waiting', { timeout: 60_000 }, async (t) => {
  const flooding = await broker.connect(t);
  const flooder = await broker.channel(t, flooding);
  const flooded = await broker.queue(flooder);
  const body = Buffer.alloc(16_384, 'flood');
  let stop = false;
  const flood = (async () => {
    while (!stop) {
      for (let number = 0; number < 200; number += 1) flooder.sendToQueue(flooded, body);
      await flooder.purgeQueue(flooded);
    }
  })();

  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const inbox = await collect(channel, queue, { noAck: true });
  const waits = [];
  for (let number = 0; number < 200; number += 1) {
    const began = performance.now();
    channel.sendToQueue(queue, Buffer.from('small'));
    await inbox.atLeast(number + 1);
    waits.push(performance.now() - began);
  }
  stop = true;
  await flood;
  waits.sort((a, b) => a - b);
  assert.ok(waits[100] < 500, `half of the round trips took more than ${waits[100]} ms`);
});
