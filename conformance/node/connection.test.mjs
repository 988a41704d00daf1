// Opening and closing connections, and what amqplib tells the program when the broker refuses.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import amqp from 'amqplib';

import { Broker, borrowed, useBroker } from './broker.mjs';
import { collect, next, soon } from './waiting.mjs';
import { WireTap } from './wire_tap.mjs';

const CONNECTION_CLOSE = [10, 50];

const broker = useBroker();

test('a connection opens and closes', async (t) => {
  const connection = await broker.connect(t);
  const closed = next(connection, 'close');
  await connection.close();
  assert.equal(await closed, undefined);
  assert.throws(() => connection.connection.sendMethod(), { name: 'IllegalOperationError' });
});

test('the server tells its product and capabilities', async (t) => {
  const connection = await broker.connect(t);
  const { product, version, platform, capabilities } = connection.connection.serverProperties;
  for (const word of [product, version, platform]) assert.equal(typeof word, 'string');
  for (const capability of [
    'publisher_confirms',
    'exchange_exchange_bindings',
    'basic.nack',
    'consumer_cancel_notify',
    'per_consumer_qos',
    'authentication_failure_close',
  ]) {
    assert.equal(capabilities[capability], true, capability);
  }
});

test('the limits of connection.tune are RabbitMQ’s', async (t) => {
  const { connection } = await broker.connect(t);
  assert.equal(connection.channelMax, 2047);
  assert.equal(connection.frameMax, 131_072);
  assert.equal(connection.heartbeat, 60);
});

test('lower limits asked for by the client hold', async (t) => {
  const connection = await broker.connect(t, {
    url: `${broker.url}?frameMax=4096&channelMax=2&heartbeat=7`,
  });
  assert.equal(connection.connection.frameMax, 4096);
  assert.equal(connection.connection.channelMax, 2);
  assert.equal(connection.connection.heartbeat, 7);
  await broker.channel(t, connection);
  await broker.channel(t, connection);
  await assert.rejects(connection.createChannel(), /No channels left/);
});

test('no frame to the client is larger than the frame_max agreed', async (t) => {
  const tap = await WireTap.open(t, broker.url);
  const connection = await broker.connect(t, { url: `${tap.url}?frameMax=4096` });
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  const inbox = await collect(channel, queue, { noAck: true });
  const body = Buffer.alloc(100_000, 'frame');
  channel.sendToQueue(queue, body);
  const [message] = await inbox.atLeast(1);
  assert.ok(message.content.equals(body));
  for (const { payload } of WireTap.frames(tap.toClient)) assert.ok(payload.length + 8 <= 4096);
});

test('a wrong password is refused with 403', async () => {
  const wrong = new URL(broker.url);
  wrong.password = 'not the password';
  await assert.rejects(amqp.connect(wrong.href), /403 \(ACCESS-REFUSED\)/);
});

test('an unknown user is refused with 403', async () => {
  const wrong = new URL(broker.url);
  wrong.username = 'nobody';
  await assert.rejects(amqp.connect(wrong.href), /403 \(ACCESS-REFUSED\)/);
});

test('an unknown virtual host is refused with 530', async (t) => {
  // amqplib tells only that a connection.close came in place of open-ok.
  const tap = await WireTap.open(t, broker.url);
  await assert.rejects(amqp.connect(`${tap.url}/no-such-host`), /got <ConnectionClose/);
  const { payload } = WireTap.frames(tap.toClient).at(-1);
  assert.deepEqual([payload.readUInt16BE(0), payload.readUInt16BE(2)], CONNECTION_CLOSE);
  assert.equal(payload.readUInt16BE(4), 530);
  assert.match(payload.subarray(7, 7 + payload[6]).toString(), /^NOT_ALLOWED.*no-such-host/);
});

test('the virtual host / can be named in the URL', async (t) => {
  const connection = await broker.connect(t, { url: `${broker.url}/%2F` });
  await broker.channel(t, connection);
});

test('a connection may carry a name', async (t) => {
  const connection = await broker.connect(t, {
    clientProperties: { connection_name: broker.name('connection') },
  });
  await broker.channel(t, connection);
});

test('a connection error is told with its code, and closes every channel', async (t) => {
  const connection = await broker.connect(t);
  const bystander = await broker.channel(t, connection);
  const offender = await broker.channel(t, connection);
  const queue = await broker.queue(offender);
  await offender.consume(queue, () => {}, { consumerTag: 'twice' });

  const error = next(connection, 'error');
  const closed = next(connection, 'close');
  const bystanderClosed = next(bystander, 'close');
  await assert.rejects(offender.consume(queue, () => {}, { consumerTag: 'twice' }));
  assert.equal((await error).code, 530);
  assert.match((await error).message, /530 \(NOT-ALLOWED\)/);
  assert.equal((await closed).code, 530);
  await bystanderClosed;
});

test('another connection lives on after a connection error', async (t) => {
  const survivor = await broker.channel(t);
  const offender = await broker.connect(t);
  const channel = await broker.channel(t, offender);
  const closed = next(offender, 'close');
  const queue = await broker.queue(channel);
  await channel.consume(queue, () => {}, { consumerTag: 'twice' });
  await assert.rejects(channel.consume(queue, () => {}, { consumerTag: 'twice' }));
  await closed;
  await broker.queue(survivor);
});

describe('heartbeats', { concurrency: true }, () => {
  test('keep an idle connection, both ways', async (t) => {
    const tap = await WireTap.open(t, broker.url);
    const connection = await broker.connect(t, { url: `${tap.url}?heartbeat=1` });
    const channel = await broker.channel(t, connection);
    let failure = null;
    connection.on('error', (error) => {
      failure = error;
    });
    await sleep(4_500);
    assert.equal(failure, null);
    const beats = WireTap.frames(tap.toClient).filter(({ type }) => type === 8);
    assert.ok(beats.length >= 3, `${beats.length} heartbeats from the server in 4.5 s`);
    assert.ok(beats.every(({ channel, payload }) => channel === 0 && payload.length === 0));
    await broker.queue(channel);
  });

  test('missed by the server end the connection', async (t) => {
    const connection = await broker.connect(t, { url: `${broker.url}?heartbeat=1` });
    const error = next(connection, 'error');
    const began = Date.now();
    connection.connection.sendHeartbeat = () => {};
    await error;
    const silentMs = Date.now() - began;
    assert.ok(silentMs > 1_000 && silentMs < 6_000, `disconnected after ${silentMs} ms`);
  });

  test('are turned off by 0', async (t) => {
    const tap = await WireTap.open(t, broker.url);
    const connection = await broker.connect(t, { url: `${tap.url}?heartbeat=0` });
    const channel = await broker.channel(t, connection);
    await sleep(3_000);
    assert.equal(WireTap.frames(tap.toClient).filter(({ type }) => type === 8).length, 0);
    await broker.queue(channel);
  });
});

test('update-secret is answered', async (t) => {
  const connection = await broker.connect(t);
  await soon(connection.updateSecret(Buffer.from('guest'), 'renewed'), 'update-secret-ok');
  await broker.channel(t, connection);
});

test('a socket that breaks off leaves the unacknowledged to others', async (t) => {
  const tap = await WireTap.open(t, broker.url);
  const lost = await broker.connect(t, { url: tap.url });
  const losing = await broker.channel(t, lost);
  const queue = broker.name('abrupt');
  await losing.assertQueue(queue, { durable: false });
  losing.sendToQueue(queue, Buffer.from('survivor'));
  const first = await collect(losing, queue);
  assert.equal((await first.atLeast(1))[0].fields.redelivered, false);

  const error = next(lost, 'error');
  tap.cut();
  await error;
  const channel = await broker.channel(t);
  const second = await collect(channel, queue);
  const [message] = await second.atLeast(1);
  assert.equal(message.fields.redelivered, true);
  channel.ack(message);
  await channel.deleteQueue(queue);
});

test(
  'a shutdown closes connections with 320, which is not an error',
  { skip: borrowed && 'the broker is not ours to stop' },
  async (t) => {
    const own = await Broker.start();
    t.after(() => own.remove());
    const connection = await broker.connect(t, { url: own.url });
    const channel = await broker.channel(t, connection);
    await broker.queue(channel);
    let failure = null;
    connection.on('error', (error) => {
      failure = error;
    });
    const closed = next(connection, 'close');
    await own.stop();
    assert.equal((await closed).code, 320);
    assert.match((await closed).message, /320 \(CONNECTION-FORCED\)/);
    assert.equal(failure, null);
  },
);
