// The order example as a user runs it: separate processes, some of which are killed.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Broker, borrowed, useBroker } from './broker.mjs';
import { soon, text, until } from './waiting.mjs';
import { WireTap } from './wire_tap.mjs';

const EXAMPLE = fileURLToPath(new URL('../../examples/node', import.meta.url));

const broker = useBroker();

before(async () => {
  if (existsSync(path.join(EXAMPLE, 'node_modules/amqplib'))) return;
  await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd: EXAMPLE });
});

/** A running script of the example, with the lines it has printed. */
class Program {
  static start(t, script, { url, queue, workMs = 5 }, ...args) {
    const program = new Program();
    program.lines = [];
    program.errors = '';
    const child = spawn(process.execPath, [path.join(EXAMPLE, script), ...args], {
      env: { ...process.env, AMQP_URL: url, ORDERS_QUEUE: queue, WORK_MS: String(workMs) },
    });
    createInterface({ input: child.stdout }).on('line', (line) => program.lines.push(line));
    child.stderr.on('data', (bytes) => {
      program.errors += bytes;
    });
    program.ended = new Promise((resolve) => {
      // 'close' comes after the last line.
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    program.kill = (signal) => child.kill(signal);
    t.after(() => child.kill('SIGKILL'));
    return program;
  }

  ids(verb) {
    return this.lines.filter((line) => line.startsWith(`${verb} `)).map((line) => line.match(/order-\d+/)[0]);
  }

  has(count, verb) {
    return until(() => this.ids(verb).length >= count, `${count} orders ${verb}\n${this.errors}`);
  }

  async ends(signal) {
    if (signal) this.kill(signal);
    const { code } = await soon(this.ended, 'the end of the program', 30_000);
    assert.equal(code, 0, this.errors);
  }
}

const IMPOSSIBLE = (id) => Number(id.slice('order-'.length)) % 25 === 0;

/** Checks that `workers` handled `count` orders: each fulfilled, or rejected where it must be. */
async function allHandled(workers, count) {
  const ids = (verb) => new Set(workers.flatMap((worker) => worker.ids(verb)));
  await until(
    () => ids('fulfilled').size + ids('rejected').size >= count,
    `the handling of ${count} orders`,
  );
  const orders = Array.from({ length: count }, (_, index) => `order-${index + 1}`);
  assert.deepEqual([...ids('rejected')].sort(), orders.filter(IMPOSSIBLE).sort());
  assert.deepEqual([...ids('fulfilled')].sort(), orders.filter((id) => !IMPOSSIBLE(id)).sort());
}

async function nothingIsLeft(t, queue) {
  const channel = await broker.channel(t);
  const { messageCount, consumerCount } = await channel.checkQueue(queue);
  assert.deepEqual([messageCount, consumerCount], [0, 0]);
  await channel.deleteQueue(queue);
}

test('50 orders are handled although one of two workers is killed in the middle', async (t) => {
  const shop = { url: broker.url, queue: broker.name('orders'), workMs: 10 };
  const steady = Program.start(t, 'worker.mjs', shop);
  const doomed = Program.start(t, 'worker.mjs', shop);
  const ready = (worker) => worker.lines.includes('waiting for orders');
  await until(() => ready(steady) && ready(doomed), 'both workers');

  const producer = Program.start(t, 'producer.mjs', shop, '50');
  await doomed.has(5, 'fulfilled');
  doomed.kill('SIGKILL');
  await producer.ends();
  assert.deepEqual(producer.lines, ['50 orders confirmed']);

  await allHandled([steady, doomed], 50);
  assert.ok(steady.ids('returned').length > 0, 'no order was ever returned');
  await steady.ends('SIGTERM');
  await nothingIsLeft(t, shop.queue);
});

test('a worker that is told to stop finishes the order at hand', async (t) => {
  const shop = { url: broker.url, queue: broker.name('orders'), workMs: 300 };
  const producer = Program.start(t, 'producer.mjs', shop, '2');
  await producer.ends();
  const worker = Program.start(t, 'worker.mjs', shop);
  const channel = await broker.channel(t);
  await until(async () => (await channel.checkQueue(shop.queue)).messageCount === 1, 'a delivery');
  await worker.ends('SIGTERM');
  assert.deepEqual(worker.ids('fulfilled'), ['order-1']);
  assert.equal(text(await channel.get(shop.queue)).includes('order-2'), true);
  await channel.deleteQueue(shop.queue);
});

test('producer and worker connect again after a loss, and no order is lost', async (t) => {
  const tap = await WireTap.open(t, broker.url);
  const shop = { url: tap.url, queue: broker.name('orders'), workMs: 2 };
  const worker = Program.start(t, 'worker.mjs', shop);
  const producer = Program.start(t, 'producer.mjs', shop, '200');
  await worker.has(20, 'fulfilled');
  tap.cut();
  await worker.has(60, 'fulfilled');
  tap.cut();
  await producer.ends();
  await allHandled([worker], 200);
  assert.match(worker.errors, /connection lost/);
  await worker.ends('SIGTERM');
  await nothingIsLeft(t, shop.queue);
});

test('a wrong password ends the program instead of being tried for ever', async (t) => {
  const wrong = new URL(broker.url);
  wrong.password = 'wrong';
  const worker = Program.start(t, 'worker.mjs', { url: wrong.href, queue: broker.name('orders') });
  const { code } = await soon(worker.ended, 'the end of the worker');
  assert.notEqual(code, 0);
  assert.match(worker.errors, /ACCESS.REFUSED/);
});

test(
  'orders survive kill -9 of the broker, and everybody comes back',
  { skip: borrowed && 'the broker is not ours to kill' },
  async (t) => {
    const own = await Broker.start();
    t.after(async () => {
      await own.kill();
      await own.remove();
    });
    const shop = { url: own.url, queue: 'orders', workMs: 5 };
    const producer = Program.start(t, 'producer.mjs', shop, '200');
    await producer.ends();
    const worker = Program.start(t, 'worker.mjs', shop);
    await worker.has(20, 'fulfilled');
    await own.kill();
    await own.run(new URL(own.url).port);
    await allHandled([worker], 200);
    assert.match(worker.errors, /connection lost/);
    await worker.ends('SIGTERM');
  },
);
