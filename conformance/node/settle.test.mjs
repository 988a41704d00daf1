// Settling: ack, nack, reject and recover, one or many, and the tags that are refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useBroker } from './broker.mjs';
import { collect, drain, refused, text } from './waiting.mjs';

const broker = useBroker();

/** A channel, a queue with the messages 'a', 'b', …, and these messages, fetched. */
async function hold(t, count) {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const bodies = [...'abcdefghij'].slice(0, count);
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body));
  await channel.waitForConfirms();
  const messages = [];
  for (const _ of bodies) messages.push(await channel.get(queue));
  return { channel, queue, messages };
}

/** What is in the queue after every unsettled message has come back to it. */
async function remaining({ channel, queue }) {
  await channel.recover();
  return (await drain(channel, queue)).map(text).join('');
}

// [what, the settling of messages a to f, what remains]
const SETTLINGS = [
  ['ack takes one', ({ channel, messages }) => channel.ack(messages[2]), 'abdef'],
  ['ack allUpTo takes all before it', ({ channel, messages }) => channel.ack(messages[2], true), 'def'],
  ['ackAll takes all', ({ channel }) => channel.ackAll(), ''],
  ['nack puts one back', ({ channel, messages }) => channel.nack(messages[2]), 'abcdef'],
  ['nack without requeue drops one', ({ channel, messages }) => channel.nack(messages[2], false, false), 'abdef'],
  ['nack allUpTo puts all before it back', ({ channel, messages }) => channel.nack(messages[2], true), 'abcdef'],
  ['nack allUpTo without requeue drops', ({ channel, messages }) => channel.nack(messages[2], true, false), 'def'],
  ['nackAll puts all back', ({ channel }) => channel.nackAll(), 'abcdef'],
  ['nackAll without requeue drops all', ({ channel }) => channel.nackAll(false), ''],
  ['reject puts one back', ({ channel, messages }) => channel.reject(messages[2]), 'abcdef'],
  ['reject without requeue drops one', ({ channel, messages }) => channel.reject(messages[2], false), 'abdef'],
  [
    'settling in any order',
    ({ channel, messages }) => {
      channel.ack(messages[5]);
      channel.reject(messages[0], false);
      channel.ack(messages[3]);
    },
    'bce',
  ],
  [
    'allUpTo leaves out what is settled',
    ({ channel, messages }) => {
      channel.ack(messages[1]);
      channel.nack(messages[3], true, false);
      channel.ack(messages[4], true);
    },
    'f',
  ],
];

for (const [what, settle, expected] of SETTLINGS) {
  test(what, async (t) => {
    const held = await hold(t, 6);
    settle(held);
    assert.equal(await remaining(held), expected);
  });
}

test('ackAll with nothing outstanding is no error', async (t) => {
  const channel = await broker.channel(t);
  channel.ackAll();
  channel.nackAll();
  await broker.queue(channel);
});

test('a returned message goes back to its original place, marked redelivered', async (t) => {
  const { channel, queue, messages } = await hold(t, 3);
  for (const body of ['d', 'e']) channel.sendToQueue(queue, Buffer.from(body));
  channel.nack(messages[1]);
  channel.reject(messages[2], true);
  channel.nack(messages[0]);
  const again = await drain(channel, queue);
  assert.deepEqual(again.map(text), ['a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(
    again.map(({ fields }) => fields.redelivered),
    [true, true, true, false, false],
  );
});

test('a consumer that returns a message gets it again', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  await channel.prefetch(1);
  const seen = [];
  const done = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      seen.push([text(message), message.fields.redelivered]);
      if (seen.length % 3) return channel.nack(message);
      channel.ack(message);
      if (seen.length === 6) resolve();
    });
  });
  channel.sendToQueue(queue, Buffer.from('a'));
  channel.sendToQueue(queue, Buffer.from('b'));
  await done;
  assert.deepEqual(seen, [
    ['a', false],
    ['a', true],
    ['a', true],
    ['b', false],
    ['b', true],
    ['b', true],
  ]);
});

test('recover returns everything unacknowledged, to consumers and queue', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  const inbox = await collect(channel, queue);
  for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
  const messages = await inbox.atLeast(3);
  channel.ack(messages[1]);
  assert.deepEqual(await channel.recover(), {});
  await inbox.exactly(5);
  assert.deepEqual(inbox.bodies().slice(3), ['a', 'c']);
  assert.ok(inbox.messages.slice(3).every(({ fields }) => fields.redelivered));
  channel.ackAll();
});

// [what, the settling that is refused]
const REFUSED = [
  ['an unknown tag', (channel) => channel.ack({ fields: { deliveryTag: 99 } })],
  ['tag 0 alone', (channel) => channel.ack({ fields: { deliveryTag: 0 } })],
  ['an unknown tag, allUpTo', (channel) => channel.ack({ fields: { deliveryTag: 99 } }, true)],
  ['nack of an unknown tag', (channel) => channel.nack({ fields: { deliveryTag: 99 } })],
  ['reject of an unknown tag', (channel) => channel.reject({ fields: { deliveryTag: 99 } })],
];

for (const [what, settle] of REFUSED) {
  test(`${what} is refused with 406`, async (t) => {
    const { channel } = await hold(t, 2);
    await refused(channel, 406, /PRECONDITION_FAILED - unknown delivery tag \d+/, () => settle(channel));
  });
}

test('settling twice is refused with 406', async (t) => {
  const { channel, messages } = await hold(t, 2);
  channel.ack(messages[0]);
  await refused(channel, 406, /PRECONDITION_FAILED - unknown delivery tag 1/, () => {
    channel.ack(messages[0]);
  });
});

test('a tag of another channel is refused with 406', async (t) => {
  const { messages } = await hold(t, 1);
  const other = await broker.channel(t);
  await refused(other, 406, /PRECONDITION_FAILED - unknown delivery tag 1/, () => {
    other.ack(messages[0]);
  });
});

test('acknowledging what came with noAck is refused with 406', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  channel.sendToQueue(queue, Buffer.from('gone'));
  const message = await channel.get(queue, { noAck: true });
  await refused(channel, 406, /PRECONDITION_FAILED - unknown delivery tag 1/, () => {
    channel.ack(message);
  });
});

test('what a channel held comes back when settling fails', async (t) => {
  const connection = await broker.connect(t);
  const keeper = await broker.channel(t, connection);
  const queue = await broker.queue(keeper);
  const channel = await broker.confirmChannel(t, connection);
  channel.sendToQueue(queue, Buffer.from('held'));
  await channel.waitForConfirms();
  await channel.get(queue);
  await refused(channel, 406, /unknown delivery tag/, () => {
    channel.ack({ fields: { deliveryTag: 5 } });
  });
  const message = await keeper.get(queue);
  assert.deepEqual([text(message), message.fields.redelivered], ['held', true]);
});
