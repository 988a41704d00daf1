// Properties and headers: everything amqplib can send arrives, byte for byte.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { borrowed, useBroker } from './broker.mjs';
import { text } from './waiting.mjs';
import { WireTap } from './wire_tap.mjs';

const broker = useBroker();

/** Sends one message, fetches it, and compares the content headers that travelled. */
async function sendAndFetch(t, options) {
  const tap = await WireTap.open(t, broker.url);
  const connection = await broker.connect(t, { url: tap.url });
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  channel.sendToQueue(queue, Buffer.from('body'), options);
  const message = await channel.get(queue, { noAck: true });
  assert.equal(text(message), 'body');
  const [sent] = WireTap.contentHeaders(tap.toBroker);
  const [received] = WireTap.contentHeaders(tap.toClient);
  assert.equal(received.toString('hex'), sent.toString('hex'), 'the content header on the wire');
  return message.properties;
}

test('all properties arrive as they were sent', async (t) => {
  const sent = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    headers: { a: 'b' },
    deliveryMode: 2,
    priority: 7,
    correlationId: 'correlation ünïcödé',
    replyTo: 'replies',
    expiration: '60000',
    messageId: 'message-1',
    timestamp: 1_700_000_000,
    type: 'order.placed',
    userId: 'guest',
    appId: 'shop',
  };
  const properties = await sendAndFetch(t, sent);
  for (const [property, value] of Object.entries(sent)) {
    assert.deepEqual(properties[property], value, property);
  }
  assert.equal(properties.clusterId, undefined);
});

test('properties that were not sent do not appear', async (t) => {
  const properties = await sendAndFetch(t, {});
  const present = Object.entries(properties).filter(([, value]) => value !== undefined);
  assert.deepEqual(present, [['headers', {}]]);
});

test('each property arrives alone', async (t) => {
  for (const [property, value] of [
    ['contentType', 'text/plain'],
    ['contentEncoding', ''],
    ['deliveryMode', 1],
    ['priority', 255],
    ['correlationId', 'c'.repeat(255)],
    ['replyTo', ''],
    ['expiration', '4294967295'],
    ['messageId', 'm'],
    ['timestamp', 0],
    ['type', 't'],
    ['appId', '🐇'],
  ]) {
    const properties = await sendAndFetch(t, { [property]: value });
    assert.deepEqual(properties[property], value, property);
  }
});

// amqplib sends a Date only as what it is told to: seconds with the type 'timestamp'.
const SECONDS = Math.floor(Date.UTC(2024, 1, 29, 12, 30) / 1000);
const typed = (type, value) => ({ '!': type, value });

// [what, sent, what amqplib makes of it on arrival when that is something else]
const VALUES = [
  ['an empty string', ''],
  ['a string', 'plain'],
  ['UTF-8 of every length', 'aé漢🐇\0\u007f'],
  ['a long string', 'long '.repeat(6000)],
  ['true', true],
  ['false', false],
  ['null', null],
  ['0', 0],
  ['the bounds of a byte', [-128, 127]],
  ['the bounds of a short', [-32_768, 32_767]],
  ['the bounds of an int', [-2_147_483_648, 2_147_483_647]],
  ['long integers', [2_147_483_648, -2_147_483_649, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]],
  ['doubles', [0.1, -0.5, Number.MIN_VALUE, Number.MAX_VALUE]],
  ['a Buffer', Buffer.from([0, 1, 127, 128, 255])],
  ['an empty Buffer', Buffer.alloc(0)],
  ['a large Buffer', Buffer.alloc(30_000, 'raw')],
  ['a timestamp', typed('timestamp', SECONDS)],
  ['timestamp 0', typed('timestamp', 0)],
  ['a decimal', typed('decimal', { places: 2, digits: 314 })],
  ['the largest decimal', typed('decimal', { places: 255, digits: 4_294_967_295 })],
  ['an int8', typed('int8', -7), -7],
  ['a uint8', typed('uint8', 200), 200],
  ['an int16', typed('int16', -7), -7],
  ['a uint16', typed('uint16', 65_535), 65_535],
  ['an int32', typed('int32', 7), 7],
  ['a uint32', typed('uint32', 4_294_967_295), 4_294_967_295],
  ['an int64', typed('int64', 7), 7],
  ['the largest int64', typed('int64', 9_223_372_036_854_775_807n), 9_223_372_036_854_775_807],
  ['the smallest int64', typed('int64', -9_223_372_036_854_775_808n), -9_223_372_036_854_775_808],
  ['a float', typed('float', 1.5), 1.5],
  ['a double of an integer', typed('double', 3), 3],
  ['a huge negative double', typed('double', -1.5e300), -1.5e300],
  ['an empty table', {}],
  ['an empty array', []],
  ['a nested table', { a: { b: { c: { d: [1, { e: 'f' }] } } } }],
  ['a nested array', [[[], [1, 'two', null]], [[{ three: 3 }]]]],
  ['an array of all kinds', [1, 'two', true, null, Buffer.from('five'), { six: 6 }, [7], 8.5]],
  ['x-death as a dead letter has it', [{ count: 3, reason: 'rejected', 'routing-keys': ['a'] }]],
];

describe('a header travels byte for byte', () => {
  for (const [what, sent, arriving = sent] of VALUES) {
    test(what, async (t) => {
      const { headers } = await sendAndFetch(t, { headers: { value: sent } });
      assert.deepEqual(headers, { value: arriving });
    });
  }
});

test(
  'doubles that are no numbers travel byte for byte',
  { skip: borrowed && 'RabbitMQ closes the connection, as Erlang has no such doubles' },
  async (t) => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const { headers } = await sendAndFetch(t, { headers: { value: typed('double', value) } });
      assert.deepEqual(headers, { value });
    }
  },
);

test('many headers keep their order', async (t) => {
  const headers = {};
  for (let number = 999; number >= 0; number -= 1) headers[`header-${number}`] = number;
  const properties = await sendAndFetch(t, { headers });
  assert.deepEqual(Object.keys(properties.headers), Object.keys(headers));
});

test('header names may be empty, long and UTF-8', async (t) => {
  const headers = { '': 'empty', 漢字: 'kanji', ['n'.repeat(128)]: 'long' };
  const properties = await sendAndFetch(t, { headers });
  assert.deepEqual(properties.headers, headers);
});

test('trace context passes through untouched', async (t) => {
  const headers = {
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    tracestate: 'vendor=opaque',
    baggage: 'tenant=7',
  };
  assert.deepEqual((await sendAndFetch(t, { headers })).headers, headers);
});
