// RabbitMQ's six tutorials in Node, run as a reader would run them.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import amqp from 'amqplib';

import { useBroker } from './broker.mjs';
import { soon, until } from './waiting.mjs';

const TUTORIALS = fileURLToPath(new URL('../../examples/node/tutorials', import.meta.url));

const broker = useBroker();

const environment = () => ({ ...process.env, AMQP_URL: broker.url });

/** Everybody uses the same names here. */
async function removeNamesOfTutorials() {
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createChannel();
  for (const queue of ['hello', 'task_queue', 'rpc_queue']) await channel.deleteQueue(queue);
  for (const exchange of ['logs', 'direct_logs', 'topic_logs']) await channel.deleteExchange(exchange);
  await connection.close();
}

beforeEach(removeNamesOfTutorials);
afterEach(removeNamesOfTutorials);

/** A program that waits for messages until it is told to end, with the lines it printed. */
async function receive(t, script, ...args) {
  const child = spawn(process.execPath, [path.join(TUTORIALS, script), ...args], { env: environment() });
  const lines = [];
  let errors = '';
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  child.stderr.on('data', (bytes) => {
    errors += bytes;
  });
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  t.after(() => child.kill('SIGKILL'));
  await until(() => lines.length > 0, `the start of ${script}\n${errors}`);
  assert.match(lines.shift(), /^waiting for /, errors);
  return {
    lines,
    has: (count) => until(() => lines.length >= count, `line ${count} of ${script}`),
    kill: () => child.kill('SIGKILL'),
    /** Ends it as Ctrl-C does; what it printed besides its farewell. */
    async rest() {
      child.kill('SIGINT');
      assert.equal(await soon(ended, `the end of ${script}`), 0, errors);
      assert.equal(lines.pop(), 'bye');
      return lines;
    },
  };
}

/** Runs a program to its end; the lines it printed. */
async function send(script, ...args) {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [path.join(TUTORIALS, script), ...args],
    { env: environment(), timeout: 20_000 },
  );
  return stdout.trimEnd().split('\n');
}

test('tutorial 1, hello world', async (t) => {
  assert.deepEqual(await send('send.mjs'), ['sent Hello World!']);
  const receiver = await receive(t, 'receive.mjs');
  await receiver.has(1);
  assert.deepEqual(await receiver.rest(), ['received Hello World!']);
});

test('tutorial 2, work queues', async (t) => {
  const workers = [await receive(t, 'worker.mjs'), await receive(t, 'worker.mjs')];
  const tasks = ['first.', 'second..', 'third...', 'fourth....'];
  for (const task of tasks) assert.deepEqual(await send('new_task.mjs', task), [`sent ${task}`]);
  const done = () => workers.flatMap(({ lines }) => lines.filter((line) => line.startsWith('done ')));
  await until(() => done().length === 4, 'four tasks');
  assert.deepEqual(done().sort(), tasks.map((task) => `done ${task}`).sort());
  for (const worker of workers) assert.equal((await worker.rest()).length, 4, 'each had two tasks');
});

test('tutorial 2, the task of a worker that was killed goes to another', async (t) => {
  const first = await receive(t, 'worker.mjs');
  const task = `long${'.'.repeat(50)}`;
  await send('new_task.mjs', task);
  await first.has(1);
  first.kill();
  const second = await receive(t, 'worker.mjs');
  await second.has(1);
  assert.deepEqual(second.lines, [`received ${task}`]);
});

test('tutorial 3, publish and subscribe', async (t) => {
  const receivers = [await receive(t, 'receive_logs.mjs'), await receive(t, 'receive_logs.mjs')];
  await send('emit_log.mjs', 'we', 'close', 'at', 'six');
  for (const receiver of receivers) {
    await receiver.has(1);
    assert.deepEqual(await receiver.rest(), ['we close at six']);
  }
});

test('tutorial 4, routing', async (t) => {
  const serious = await receive(t, 'receive_logs_direct.mjs', 'warning', 'error');
  const errors = await receive(t, 'receive_logs_direct.mjs', 'error');
  for (const severity of ['info', 'warning', 'error']) await send('emit_log_direct.mjs', severity, 'the', 'roof');
  await serious.has(2);
  await errors.has(1);
  assert.deepEqual(await serious.rest(), ['warning: the roof', 'error: the roof']);
  assert.deepEqual(await errors.rest(), ['error: the roof']);
});

test('tutorial 5, topics', async (t) => {
  const critical = await receive(t, 'receive_logs_topic.mjs', '*.critical');
  const roof = await receive(t, 'receive_logs_topic.mjs', 'roof.*', '#.leak');
  for (const key of ['roof.critical', 'roof.info', 'cellar.water.leak', 'cellar.critical']) {
    await send('emit_log_topic.mjs', key, 'look');
  }
  await critical.has(2);
  await roof.has(3);
  assert.deepEqual(await critical.rest(), ['roof.critical: look', 'cellar.critical: look']);
  assert.deepEqual(await roof.rest(), ['roof.critical: look', 'roof.info: look', 'cellar.water.leak: look']);
});

test('tutorial 6, RPC', async (t) => {
  const server = await receive(t, 'rpc_server.mjs');
  for (const [n, answer] of [[30, 832040], [10, 55]]) {
    assert.deepEqual(await send('rpc_client.mjs', String(n)), [`fibonacci(${n}) = ${answer}`]);
  }
  assert.deepEqual(await server.rest(), ['fibonacci(30) = 832040', 'fibonacci(10) = 55']);
});
