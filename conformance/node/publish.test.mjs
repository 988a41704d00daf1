// Publishing: bodies of any size, confirms, returns, and sender-selected keys.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { borrowed, useBroker } from './broker.mjs';
import { collect, drain, refused, soon, text } from './waiting.mjs';
import { WireTap } from './wire_tap.mjs';

const broker = useBroker();

const FRAME_OVERHEAD = 8;
const BASIC_ACK = (60 << 16) + 80;

test('sendToQueue and publish arrive in the order sent', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  const inbox = await collect(channel, queue, { noAck: true });
  const expected = [];
  for (let number = 0; number < 2000; number += 1) {
    expected.push(String(number));
    channel.sendToQueue(queue, Buffer.from(String(number)));
  }
  await inbox.exactly(2000);
  assert.deepEqual(inbox.bodies(), expected);
});

test('bodies around the frame size arrive intact', async (t) => {
  for (const frameMax of [4096, 131_072]) {
    const connection = await broker.connect(t, { url: `${broker.url}?frameMax=${frameMax}` });
    const channel = await broker.channel(t, connection);
    const queue = await broker.queue(channel);
    const inbox = await collect(channel, queue, { noAck: true });
    const frame = frameMax - FRAME_OVERHEAD;
    const sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1];
    const bodies = sizes.map((size) => randomBytes(size));
    for (const body of bodies) channel.sendToQueue(queue, body);
    const messages = await inbox.exactly(bodies.length);
    for (const [index, { content }] of messages.entries()) {
      assert.ok(content.equals(bodies[index]), `a body of ${sizes[index]} bytes, frame_max ${frameMax}`);
    }
  }
});

test('a body of 10 MiB travels over thousands of small frames', async (t) => {
  const connection = await broker.connect(t, { url: `${broker.url}?frameMax=4096` });
  const channel = await broker.confirmChannel(t, connection);
  const queue = await broker.queue(channel);
  const body = randomBytes(10 * 1024 * 1024);
  channel.sendToQueue(queue, body, { persistent: true });
  await channel.waitForConfirms();
  const message = await channel.get(queue, { noAck: true });
  assert.equal(message.content.length, body.length);
  assert.equal(sha256(message.content), sha256(body));
});

test('large and small messages of many channels do not mix', async (t) => {
  const connection = await broker.connect(t);
  const channels = [];
  for (let number = 0; number < 10; number += 1) {
    const channel = await broker.channel(t, connection);
    const queue = await broker.queue(channel);
    channels.push({ channel, queue, inbox: await collect(channel, queue, { noAck: true }) });
  }
  for (let round = 0; round < 5; round += 1) {
    for (const [index, { channel, queue }] of channels.entries()) {
      channel.sendToQueue(queue, Buffer.alloc(index % 2 ? 300_000 : 20, 10 * round + index));
    }
  }
  for (const [index, { inbox }] of channels.entries()) {
    const messages = await inbox.exactly(5);
    for (const [round, { content }] of messages.entries()) {
      const expected = Buffer.alloc(index % 2 ? 300_000 : 20, 10 * round + index);
      assert.ok(content.equals(expected), `channel ${index}, round ${round}`);
    }
  }
});

test('every confirm callback is called once, in order', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const confirmed = [];
  for (let number = 0; number < 1000; number += 1) {
    channel.sendToQueue(queue, Buffer.from('x'), { persistent: number % 2 === 0 }, (error) => {
      assert.equal(error, null);
      confirmed.push(number);
    });
  }
  await channel.waitForConfirms();
  assert.equal(new Set(confirmed).size, 1000);
  assert.equal(confirmed.length, 1000);
});

test('confirms on the wire name every message once', async (t) => {
  const tap = await WireTap.open(t, broker.url);
  const connection = await broker.connect(t, { url: tap.url });
  const plain = await broker.channel(t, connection);
  const queue = await broker.queue(plain);
  plain.sendToQueue(queue, Buffer.from('not in confirm mode'));
  const channel = await broker.confirmChannel(t, connection);
  for (let number = 0; number < 500; number += 1) {
    channel.sendToQueue(queue, Buffer.from('x'), { persistent: true });
  }
  await channel.waitForConfirms();
  const confirmed = new Set();
  let lowest = 1;
  for (const { channel: number, payload } of WireTap.frames(tap.toClient)) {
    if (payload.readUInt32BE(0) !== BASIC_ACK) continue;
    assert.equal(number, channel.ch, 'confirms come on the confirm channel only');
    const tag = Number(payload.readBigUInt64BE(4));
    const multiple = payload[12] === 1;
    for (let each = multiple ? lowest : tag; each <= tag; each += 1) {
      if (multiple && confirmed.has(each)) continue;
      assert.ok(!confirmed.has(each), `message ${each} is confirmed twice`);
      confirmed.add(each);
    }
    while (confirmed.has(lowest)) lowest += 1;
  }
  assert.equal(confirmed.size, 500);
  assert.equal(Math.max(...confirmed), 500);
});

test('what is confirmed can be fetched at once by anybody', async (t) => {
  const publisher = await broker.confirmChannel(t);
  const reader = await broker.channel(t);
  const queue = broker.name('visible');
  await publisher.assertQueue(queue);
  for (let round = 0; round < 50; round += 1) {
    publisher.sendToQueue(queue, Buffer.from(String(round)), { persistent: true });
    await publisher.waitForConfirms();
    assert.equal(text(await reader.get(queue, { noAck: true })), String(round));
  }
  await reader.deleteQueue(queue);
});

test('an unroutable message is confirmed', async (t) => {
  const channel = await broker.confirmChannel(t);
  const exchange = await broker.exchange(channel, 'direct');
  channel.publish(exchange, 'nowhere', Buffer.from('dropped'));
  await soon(channel.waitForConfirms(), 'the confirm');
});

test('a mandatory message comes back whole, before its confirm', async (t) => {
  const channel = await broker.confirmChannel(t);
  const exchange = await broker.exchange(channel, 'direct');
  const queue = await broker.queue(channel, [exchange, 'known']);
  const happened = [];
  channel.on('return', (message) => happened.push(message));
  const body = randomBytes(200_000);
  const options = { mandatory: true, headers: { a: 1 }, messageId: 'm-1', persistent: true };
  channel.publish(exchange, 'unknown', body, options, () => happened.push('confirmed'));
  channel.publish(exchange, 'known', body, options);
  await channel.waitForConfirms();

  assert.equal(happened.length, 2);
  const [{ fields, properties, content }, confirmed] = happened;
  assert.equal(confirmed, 'confirmed');
  assert.deepEqual({ ...fields }, {
    replyCode: 312,
    replyText: 'NO_ROUTE',
    exchange,
    routingKey: 'unknown',
  });
  assert.deepEqual([properties.messageId, properties.deliveryMode], ['m-1', 2]);
  assert.deepEqual(properties.headers, { a: 1 });
  assert.ok(content.equals(body));
  assert.equal((await drain(channel, queue)).length, 1);
});

test('a mandatory message to a missing queue comes back from the default exchange', async (t) => {
  const channel = await broker.channel(t);
  const missing = broker.name('missing');
  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.sendToQueue(missing, Buffer.from('back'), { mandatory: true });
  const { fields, content } = await soon(returned, 'basic.return');
  assert.deepEqual([fields.replyCode, fields.exchange, fields.routingKey], [312, '', missing]);
  assert.equal(content.toString(), 'back');
});

test('confirms outstanding when the channel is closed are lost, and told as lost', async (t) => {
  const channel = await broker.confirmChannel(t);
  const lost = new Promise((resolve) => {
    channel.publish(broker.name('missing'), 'key', Buffer.from('x'), {}, resolve);
  });
  const error = await soon(lost, 'the callback');
  assert.match(error.message, /channel closed/);
  await assert.rejects(channel.waitForConfirms(), /channel closed/);
});

test('CC and BCC are further keys, and BCC is not delivered', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'direct');
  const queues = {};
  for (const key of ['to', 'cc1', 'cc2', 'bcc']) {
    queues[key] = await broker.queue(channel, [exchange, key]);
  }
  const twice = await broker.queue(channel, [exchange, 'to'], [exchange, 'cc1']);
  channel.publish(exchange, 'to', Buffer.from('memo'), {
    CC: ['cc1', 'cc2'],
    BCC: ['bcc'],
    headers: { kept: true },
  });
  for (const queue of [...Object.values(queues), twice]) {
    const messages = await drain(channel, queue);
    assert.equal(messages.length, 1, 'one copy per queue');
    assert.deepEqual(messages[0].properties.headers, { kept: true, CC: ['cc1', 'cc2'] });
    assert.equal(messages[0].fields.routingKey, 'to');
  }
});

test('a CC that is not an array is refused with 406', async (t) => {
  const channel = await broker.channel(t);
  await refused(channel, 406, /PRECONDITION_FAILED.*CC/, () => {
    channel.publish('amq.direct', 'key', Buffer.from('x'), { headers: { CC: 'one' } });
  });
});

test('a user id other than the login is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  channel.sendToQueue(queue, Buffer.from('mine'), { userId: 'guest' });
  assert.equal((await channel.get(queue)).properties.userId, 'guest');
  await refused(channel, 406, /PRECONDITION_FAILED.*user_id.*mallory.*guest/, () => {
    channel.sendToQueue(queue, Buffer.from('forged'), { userId: 'mallory' });
  });
});

test('an expiration that is no number is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  for (const expiration of ['soon', '-1', '1.5']) {
    const channel = await broker.channel(t, connection);
    await refused(channel, 406, /PRECONDITION_FAILED.*expiration/, () => {
      channel.sendToQueue('anywhere', Buffer.from('x'), { expiration });
    });
  }
});

const LARGEST = 16 * 1024 * 1024;

test('a body of exactly 16 MiB arrives', async (t) => {
  const channel = await broker.confirmChannel(t);
  const queue = await broker.queue(channel);
  const body = Buffer.alloc(LARGEST, 'most');
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  const message = await channel.get(queue, { noAck: true });
  assert.ok(message.content.equals(body));
});

test(
  'a body above 16 MiB is refused with 406, and the connection lives on',
  { skip: borrowed && 'RabbitMQ before 4.0 allows more' },
  async (t) => {
    const connection = await broker.connect(t);
    const channel = await broker.channel(t, connection);
    const queue = await broker.queue(channel);
    const offender = await broker.channel(t, connection);
    const text = new RegExp(`PRECONDITION_FAILED.*${LARGEST + 1}.*${LARGEST}`);
    await refused(offender, 406, text, () => {
      offender.sendToQueue(queue, Buffer.alloc(LARGEST + 1));
    });
    assert.equal(await channel.get(queue), false);
  },
);

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
