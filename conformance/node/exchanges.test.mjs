// Exchanges and bindings: declare, check, bind, unbind, delete, and when they go by themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { useBroker } from './broker.mjs';
import { collect, drain, refused, text } from './waiting.mjs';

const broker = useBroker();

const TYPES = ['direct', 'fanout', 'topic', 'headers'];

test('an exchange of each type is declared, declared again, checked and deleted', async (t) => {
  const channel = await broker.channel(t);
  for (const type of TYPES) {
    const exchange = broker.name(type);
    assert.deepEqual(await channel.assertExchange(exchange, type), { exchange });
    await channel.assertExchange(exchange, type);
    await channel.checkExchange(exchange);
    await channel.deleteExchange(exchange);
  }
});

test('the predeclared exchanges exist, durable', async (t) => {
  const channel = await broker.channel(t);
  for (const type of TYPES) await channel.assertExchange(`amq.${type}`, type);
  await channel.assertExchange('amq.match', 'headers');
});

test('checkExchange of a missing exchange is refused with 404', async (t) => {
  const channel = await broker.channel(t);
  const missing = broker.name('missing');
  await refused(channel, 404, new RegExp(`NOT_FOUND - no exchange '${missing}' in vhost '/'`), () =>
    channel.checkExchange(missing),
  );
});

test('declaring again with other settings is refused with 406', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const exchange = await broker.exchange(channel, 'direct', { durable: true });
  for (const [what, type, options] of [
    ['type', 'fanout', {}],
    ['durable', 'direct', { durable: false }],
    ['auto_delete', 'direct', { autoDelete: true }],
    ['internal', 'direct', { internal: true }],
    ['alternate-exchange', 'direct', { alternateExchange: 'amq.fanout' }],
  ]) {
    const offender = await broker.channel(t, connection);
    const text = new RegExp(`PRECONDITION_FAILED - inequivalent arg '${what}' for exchange '${exchange}'`);
    await refused(offender, 406, text, () => offender.assertExchange(exchange, type, options));
  }
});

test('an unknown type is refused', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const closed = new Promise((resolve) => connection.once('close', resolve));
  await assert.rejects(channel.assertExchange(broker.name('odd'), 'x-odd'));
  assert.equal((await closed).code, 503);
});

test('the default exchange routes by queue name, and nobody may change it', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  channel.publish('', queue, Buffer.from('direct'));
  assert.equal(text(await channel.get(queue, { noAck: true })), 'direct');
  for (const change of [
    (offender) => offender.assertExchange('', 'direct'),
    (offender) => offender.deleteExchange(''),
    (offender) => offender.bindQueue(queue, '', 'key'),
    (offender) => offender.unbindQueue(queue, '', 'key'),
    (offender) => offender.bindExchange('amq.fanout', '', 'key'),
  ]) {
    const offender = await broker.channel(t, connection);
    await refused(offender, 403, /ACCESS_REFUSED - operation not permitted on the default exchange/, () =>
      change(offender),
    );
  }
});

test('a predeclared exchange cannot be deleted', async (t) => {
  const channel = await broker.channel(t);
  await refused(channel, 403, /ACCESS_REFUSED.*amq\.topic/, () => channel.deleteExchange('amq.topic'));
});

test('publishing to a missing exchange is refused with 404', async (t) => {
  const channel = await broker.channel(t);
  const missing = broker.name('missing');
  await refused(channel, 404, new RegExp(`NOT_FOUND - no exchange '${missing}'`), () => {
    channel.publish(missing, 'key', Buffer.from('lost'));
  });
});

test('publishing to an internal exchange is refused with 403; bindings to it route', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const internal = await broker.exchange(channel, 'fanout', { internal: true });
  const queue = await broker.queue(channel, [internal, '']);
  const entrance = await broker.exchange(channel, 'fanout');
  await channel.bindExchange(internal, entrance, '');
  channel.publish(entrance, '', Buffer.from('inside'));
  assert.equal(text(await channel.get(queue, { noAck: true })), 'inside');
  await refused(channel, 403, /ACCESS_REFUSED - cannot publish to internal exchange/, () => {
    channel.publish(internal, '', Buffer.from('outside'));
  });
});

test('deleteExchange takes the bindings along, and is repeatable', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'fanout');
  const queue = await broker.queue(channel, [exchange, '']);
  await channel.deleteExchange(exchange);
  await channel.deleteExchange(exchange);
  await channel.assertExchange(exchange, 'fanout', { durable: false });
  channel.publish(exchange, '', Buffer.from('nowhere'));
  assert.equal(await channel.get(queue), false);
});

test('deleteExchange ifUnused is refused with 406 while it has bindings', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const exchange = await broker.exchange(channel, 'fanout');
  const queue = await broker.queue(channel, [exchange, '']);
  const offender = await broker.channel(t, connection);
  await refused(offender, 406, /PRECONDITION_FAILED.*in use/, () =>
    offender.deleteExchange(exchange, { ifUnused: true }),
  );
  await channel.unbindQueue(queue, exchange, '');
  await channel.deleteExchange(exchange, { ifUnused: true });
});

test('an auto-delete exchange goes with its last binding, and not before the first', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'fanout', { autoDelete: true });
  await channel.checkExchange(exchange);
  const first = await broker.queue(channel, [exchange, '']);
  const second = await broker.queue(channel, [exchange, '']);
  await channel.unbindQueue(first, exchange, '');
  await channel.checkExchange(exchange);
  await channel.deleteQueue(second);
  await refused(channel, 404, /NOT_FOUND/, () => channel.checkExchange(exchange));
});

test('bindQueue and unbindQueue take effect at once', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'direct');
  const queue = await broker.queue(channel);
  for (let round = 0; round < 20; round += 1) {
    await channel.bindQueue(queue, exchange, 'key');
    channel.publish(exchange, 'key', Buffer.from('bound'));
    assert.equal(text(await channel.get(queue, { noAck: true })), 'bound');
    await channel.unbindQueue(queue, exchange, 'key');
    channel.publish(exchange, 'key', Buffer.from('unbound'));
    assert.equal(await channel.get(queue), false);
  }
});

test('the same binding twice is one, and goes at one unbind', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'fanout');
  const queue = await broker.queue(channel, [exchange, 'key'], [exchange, 'key']);
  channel.publish(exchange, '', Buffer.from('one copy'));
  assert.deepEqual((await drain(channel, queue)).map(text), ['one copy']);
  await channel.unbindQueue(queue, exchange, 'key');
  channel.publish(exchange, '', Buffer.from('none'));
  assert.equal(await channel.get(queue), false);
});

test('unbindQueue removes only the binding with that key and those arguments', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'direct');
  const queue = await broker.queue(channel, [exchange, 'key'], [exchange, 'key', { some: 'argument' }]);
  await channel.unbindQueue(queue, exchange, 'other key');
  await channel.unbindQueue(queue, exchange, 'key', { some: 'other argument' });
  await channel.unbindQueue(queue, exchange, 'key');
  channel.publish(exchange, 'key', Buffer.from('still bound'));
  assert.deepEqual((await drain(channel, queue)).map(text), ['still bound']);
  await channel.unbindQueue(queue, exchange, 'key', { some: 'argument' });
  channel.publish(exchange, 'key', Buffer.from('none'));
  assert.equal(await channel.get(queue), false);
});

test('binding what does not exist is refused with 404', async (t) => {
  const connection = await broker.connect(t);
  const channel = await broker.channel(t, connection);
  const queue = await broker.queue(channel);
  const missing = broker.name('missing');
  for (const [what, bind] of [
    [`no exchange '${missing}'`, (offender) => offender.bindQueue(queue, missing, 'key')],
    [`no queue '${missing}'`, (offender) => offender.bindQueue(missing, 'amq.direct', 'key')],
    [`no exchange '${missing}'`, (offender) => offender.bindExchange('amq.direct', missing, 'key')],
    [`no exchange '${missing}'`, (offender) => offender.bindExchange(missing, 'amq.direct', 'key')],
  ]) {
    const offender = await broker.channel(t, connection);
    await refused(offender, 404, new RegExp(what), () => bind(offender));
  }
});

test('a binding that does not exist can be removed', async (t) => {
  const channel = await broker.channel(t);
  const queue = await broker.queue(channel);
  await channel.unbindQueue(queue, 'amq.direct', broker.name('never-bound'));
});

test('bindExchange passes on, one copy however many ways, and circles end', async (t) => {
  const channel = await broker.channel(t);
  const entrance = await broker.exchange(channel, 'fanout');
  const left = await broker.exchange(channel, 'fanout');
  const right = await broker.exchange(channel, 'topic');
  await channel.bindExchange(left, entrance, '');
  await channel.bindExchange(right, entrance, '');
  await channel.bindExchange(entrance, left, '');
  const both = await broker.queue(channel, [left, ''], [right, '#'], [entrance, '']);
  const rightOnly = await broker.queue(channel, [right, 'orders.*']);
  channel.publish(entrance, 'orders.new', Buffer.from('order'));
  channel.publish(entrance, 'news', Buffer.from('news'));
  assert.deepEqual((await drain(channel, both)).map(text), ['order', 'news']);
  assert.deepEqual((await drain(channel, rightOnly)).map(text), ['order']);
});

test('unbindExchange, and deleting either exchange, ends the passing on', async (t) => {
  const channel = await broker.channel(t);
  const source = await broker.exchange(channel, 'fanout');
  const target = await broker.exchange(channel, 'fanout');
  const queue = await broker.queue(channel, [target, '']);
  const arrives = async () => {
    channel.publish(source, '', Buffer.from('passed on'));
    return (await drain(channel, queue)).length;
  };
  await channel.bindExchange(target, source, 'key');
  assert.equal(await arrives(), 1);
  await channel.unbindExchange(target, source, 'key');
  assert.equal(await arrives(), 0);

  await channel.bindExchange(target, source, 'key');
  await channel.deleteExchange(source);
  await channel.assertExchange(source, 'fanout', { durable: false });
  assert.equal(await arrives(), 0);

  await channel.bindExchange(target, source, 'key');
  await channel.deleteExchange(target);
  await channel.assertExchange(target, 'fanout', { durable: false });
  await channel.bindQueue(queue, target, '');
  assert.equal(await arrives(), 0);
});

test('an alternate exchange gets what could not be routed', async (t) => {
  const channel = await broker.confirmChannel(t);
  const last = await broker.exchange(channel, 'fanout');
  const middle = await broker.exchange(channel, 'direct', { alternateExchange: last });
  const first = await broker.exchange(channel, 'direct', { alternateExchange: middle });
  const known = await broker.queue(channel, [first, 'known']);
  const second = await broker.queue(channel, [middle, 'second']);
  const rest = await broker.queue(channel, [last, '']);
  const returned = await collectReturns(channel);
  for (const key of ['known', 'second', 'other']) {
    channel.publish(first, key, Buffer.from(key), { mandatory: true });
  }
  await channel.waitForConfirms();
  assert.deepEqual((await drain(channel, known)).map(text), ['known']);
  assert.deepEqual((await drain(channel, second)).map(text), ['second']);
  const [message] = await drain(channel, rest);
  assert.equal(text(message), 'other');
  assert.deepEqual([message.fields.exchange, message.fields.routingKey], [first, 'other']);
  assert.deepEqual(returned, []);
});

test('a missing alternate exchange, or a circle of them, leaves a message unroutable', async (t) => {
  const channel = await broker.confirmChannel(t);
  const astray = await broker.exchange(channel, 'direct', { alternateExchange: broker.name('missing') });
  const circle = broker.name('circle');
  await channel.assertExchange(circle, 'direct', { durable: false, alternateExchange: circle });
  const returned = await collectReturns(channel);
  channel.publish(astray, 'key', Buffer.from('astray'), { mandatory: true });
  channel.publish(circle, 'key', Buffer.from('circling'), { mandatory: true });
  await channel.waitForConfirms();
  assert.deepEqual(returned.map(text), ['astray', 'circling']);
});

test('deliveries tell exchange and routing key as published', async (t) => {
  const channel = await broker.channel(t);
  const exchange = await broker.exchange(channel, 'topic');
  const queue = await broker.queue(channel, [exchange, '#']);
  const inbox = await collect(channel, queue, { noAck: true });
  for (const key of ['a.b.c', '', 'ünï.çödé']) channel.publish(exchange, key, Buffer.from(key));
  const messages = await inbox.atLeast(3);
  assert.deepEqual(messages.map(({ fields }) => fields.routingKey), ['a.b.c', '', 'ünï.çödé']);
  assert.ok(messages.every(({ fields }) => fields.exchange === exchange));
});

async function collectReturns(channel) {
  const returned = [];
  channel.on('return', (message) => returned.push(message));
  return returned;
}
