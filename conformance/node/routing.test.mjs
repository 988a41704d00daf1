// Topic patterns and headers matching, each as a table.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { useBroker } from './broker.mjs';
import { drain, refused, text } from './waiting.mjs';

const broker = useBroker();

test('a direct exchange routes by the equal key, to every queue bound with it', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'direct');
  const one = await broker.queue(channel, [exchange, 'a'], [exchange, 'b']);
  const two = await broker.queue(channel, [exchange, 'b'], [exchange, '']);
  for (const key of ['a', 'b', 'c', '', 'A', 'a.b', '#', '*']) {
    channel.publish(exchange, key, Buffer.from(key));
  }
  assert.deepEqual((await drain(channel, one)).map(text), ['a', 'b']);
  assert.deepEqual((await drain(channel, two)).map(text), ['b', '']);
});

test('a fanout exchange routes to every queue whatever the key', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'fanout');
  const queues = [];
  for (const key of ['', 'a', 'b']) queues.push(await broker.queue(channel, [exchange, key]));
  for (const key of ['', 'a', 'z']) channel.publish(exchange, key, Buffer.from(key));
  for (const queue of queues) {
    assert.deepEqual((await drain(channel, queue)).map(text), ['', 'a', 'z']);
  }
});

const KEYS = ['', 'a', 'b', 'a.b', 'a.b.c', 'a.b.b.c', 'b.b.c', 'b.c', 'a.', '.', '.a', 'a..b', 'ab', '*', '#'];

const TOPICS = [
  ['#', KEYS],
  ['*', ['a', 'b', 'ab', '*', '#']],
  ['a', ['a']],
  ['a.b', ['a.b']],
  ['a.*', ['a.b', 'a.']],
  ['*.b', ['a.b']],
  ['*.*', ['a.b', 'b.c', 'a.', '.', '.a']],
  ['*.*.*', ['a.b.c', 'b.b.c', 'a..b']],
  ['a.#', ['a', 'a.b', 'a.b.c', 'a.b.b.c', 'a.', 'a..b']],
  ['#.a', ['a', '.a']],
  ['#.c', ['a.b.c', 'a.b.b.c', 'b.b.c', 'b.c']],
  ['a.#.c', ['a.b.c', 'a.b.b.c']],
  ['#.b.#', ['b', 'a.b', 'a.b.c', 'a.b.b.c', 'b.b.c', 'b.c', 'a..b']],
  ['#.b.b.#', ['a.b.b.c', 'b.b.c']],
  ['*.#', KEYS.filter((key) => key !== '')],
  ['#.*', KEYS.filter((key) => key !== '')],
  ['#.#', KEYS],
  ['*.b.#', ['a.b', 'a.b.c', 'a.b.b.c', 'b.b.c']],
  ['', ['']],
  ['a.', ['a.']],
  ['a..b', ['a..b']],
  ['a*', []],
  ['a#', []],
];

test('topic patterns match words', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'topic');
  const queues = new Map();
  for (const [pattern] of TOPICS) queues.set(pattern, await broker.queue(channel, [exchange, pattern]));
  for (const key of KEYS) channel.publish(exchange, key, Buffer.from(key));
  for (const [pattern, expected] of TOPICS) {
    const arrived = (await drain(channel, queues.get(pattern))).map(text);
    assert.deepEqual(arrived, expected, `pattern '${pattern}'`);
  }
});

test('a queue bound by several matching patterns gets one copy, until the last is unbound', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'topic');
  const patterns = ['#', 'a.*', '*.b', 'a.b'];
  const queue = await broker.queue(channel, ...patterns.map((pattern) => [exchange, pattern]));
  for (const pattern of patterns) {
    channel.publish(exchange, 'a.b', Buffer.from('one'));
    assert.equal((await drain(channel, queue)).length, 1);
    await channel.unbindQueue(queue, exchange, pattern);
  }
  channel.publish(exchange, 'a.b', Buffer.from('none'));
  assert.equal((await drain(channel, queue)).length, 0);
});

const VOID = null;

// [what, binding arguments, messages' headers that match, that don't]
const HEADERS = [
  [
    'all',
    { 'x-match': 'all', colour: 'red', size: 7 },
    [{ colour: 'red', size: 7 }, { colour: 'red', size: 7, more: true }],
    [{ colour: 'red' }, { size: 7 }, { colour: 'red', size: 8 }, {}, undefined],
  ],
  [
    'no x-match means all',
    { colour: 'red', size: 7 },
    [{ colour: 'red', size: 7, more: true }],
    [{ colour: 'red' }, {}],
  ],
  [
    'any',
    { 'x-match': 'any', colour: 'red', size: 7 },
    [{ colour: 'red' }, { size: 7 }, { colour: 'blue', size: 7 }],
    [{ colour: 'blue', size: 8 }, { other: 'red' }, {}, undefined],
  ],
  ['all of nothing', { 'x-match': 'all' }, [{ colour: 'red' }, {}, undefined], []],
  ['any of nothing', { 'x-match': 'any' }, [], [{ colour: 'red' }, {}, undefined]],
  [
    'all leaves out x-',
    { 'x-match': 'all', 'x-colour': 'red', size: 7 },
    [{ size: 7 }, { size: 7, 'x-colour': 'blue' }],
    [{ 'x-colour': 'red' }],
  ],
  [
    'any leaves out x-',
    { 'x-match': 'any', 'x-colour': 'red', size: 7 },
    [{ size: 7 }],
    [{ 'x-colour': 'red' }],
  ],
  [
    'all-with-x',
    { 'x-match': 'all-with-x', 'x-colour': 'red', size: 7 },
    [{ size: 7, 'x-colour': 'red' }],
    [{ size: 7 }, { 'x-colour': 'red' }, { size: 7, 'x-colour': 'blue' }],
  ],
  [
    'any-with-x',
    { 'x-match': 'any-with-x', 'x-colour': 'red', size: 7 },
    [{ 'x-colour': 'red' }, { size: 7, 'x-colour': 'blue' }],
    [{ size: 8 }, { 'x-colour': 'blue' }],
  ],
  [
    'void matches presence',
    { 'x-match': 'all', colour: VOID },
    [{ colour: 'red' }, { colour: 7 }, { colour: '' }, { colour: VOID }],
    [{}, { size: 7 }],
  ],
  [
    'a string is not a number',
    { 'x-match': 'all', size: '7' },
    [{ size: '7' }],
    [{ size: 7 }, { size: ' 7' }],
  ],
  [
    'booleans, bytes and tables',
    { 'x-match': 'all', flag: true, raw: Buffer.from([1, 2]), table: { a: 1 } },
    [{ flag: true, raw: Buffer.from([1, 2]), table: { a: 1 } }],
    [{ flag: false, raw: Buffer.from([1, 2]), table: { a: 1 } }, { flag: true, table: { a: 1 } }],
  ],
];

describe('headers exchange', () => {
  for (const [what, binding, matching, others] of HEADERS) {
    test(what, async (t) => {
      const channel = await broker.channel(t);
      const exchange = await broker.exchange(channel, 'headers');
      const queue = await broker.queue(channel, [exchange, 'key is ignored', binding]);
      for (const [body, messages] of [['match', matching], ['other', others]]) {
        for (const [index, headers] of messages.entries()) {
          channel.publish(exchange, '', Buffer.from(`${body} ${index}`), { headers });
        }
      }
      const expected = matching.map((_, index) => `match ${index}`);
      assert.deepEqual((await drain(channel, queue)).map(text), expected);
    });
  }
});

test('an unknown x-match is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const exchange = await broker.exchange(channel, 'headers');
  const queue = await broker.queue(channel);
  for (const value of ['some', 7, true]) {
    const offender = await broker.channel(t, connection);
    await refused(offender, 406, /PRECONDITION_FAILED.*x-match/i, () =>
      offender.bindQueue(queue, exchange, '', { 'x-match': value, colour: 'red' }),
    );
  }
});
