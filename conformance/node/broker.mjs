// The broker under test: starts the binary on a free port with a directory of its own and stops it
// again, or lends the broker that CONFORMANCE_URL names.
//
//   POSTROOM_BINARY   the binary; otherwise target/release/postroom, then target/debug/postroom
//   CONFORMANCE_URL   amqp://user:password@host:port of a broker that runs already

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import amqp from 'amqplib';

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const START_MS_MAX = 10_000;
const STOP_MS_MAX = 10_000;

/** True when the tests run against a broker that is not ours to stop. */
export const borrowed = Boolean(process.env.CONFORMANCE_URL);

function findBinary() {
  if (process.env.POSTROOM_BINARY) {
    const named = path.resolve(process.env.POSTROOM_BINARY);
    assert.ok(existsSync(named), `POSTROOM_BINARY names ${named}, which does not exist`);
    return named;
  }
  const candidates = ['release', 'debug'].map((profile) =>
    path.join(REPOSITORY, 'target', profile, 'postroom'),
  );
  const found = candidates.find(existsSync);
  assert.ok(
    found,
    `no broker to test: build it with "cargo build --release", or set POSTROOM_BINARY or ` +
      `CONFORMANCE_URL (looked for ${candidates.join(' and ')})`,
  );
  return found;
}

/** A broker process with its data directory, which outlives the process until `remove`. */
export class Broker {
  #process = null;
  #output = '';
  #exited = null;

  constructor(dataDirectory) {
    this.dataDirectory = dataDirectory;
    this.url = null;
  }

  static async start() {
    const broker = new Broker(await mkdtemp(path.join(tmpdir(), 'postroom-node-')));
    try {
      await broker.run();
    } catch (error) {
      await broker.remove();
      throw error;
    }
    return broker;
  }

  /** Starts the process, again after a kill or stop; port 0 takes a free one. */
  async run(port = '0') {
    const portsFile = path.join(this.dataDirectory, 'ports.json');
    await rm(portsFile, { force: true });
    const child = spawn(
      findBinary(),
      ['serve', '--data-dir', this.dataDirectory, '--bind', '127.0.0.1']
        .concat(['--amqp-port', port, '--http-port', '0']),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#process = child;
    // No broker outlives the tests that started it.
    process.once('exit', () => child.kill('SIGKILL'));
    const keep = (bytes) => {
      this.#output = (this.#output + bytes).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => resolve({ error }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.url = `amqp://guest:guest@127.0.0.1:${await this.#port(portsFile)}`;
  }

  async #port(portsFile) {
    let exit = null;
    this.#exited.then((how) => {
      exit = how;
    });
    const deadline = Date.now() + START_MS_MAX;
    while (Date.now() < deadline) {
      assert.equal(exit, null, `the broker ended while starting (${JSON.stringify(exit)}):\n${this.#output}`);
      const text = await readFile(portsFile, 'utf8').catch(() => '');
      // The file may be seen half written, unless the broker renames it into place.
      const port = text.endsWith('}') || text.endsWith('}\n') ? JSON.parse(text).amqp : undefined;
      if (port) return port;
      await sleep(10);
    }
    throw new Error(`no ${portsFile} after ${START_MS_MAX} ms:\n${this.#output}`);
  }

  /** SIGTERM: the broker must end by itself, with exit code 0. */
  async stop() {
    const how = await this.#end('SIGTERM');
    assert.deepEqual(how, { code: 0, signal: null }, `the broker did not stop cleanly:\n${this.#output}`);
  }

  /** kill -9 */
  async kill() {
    await this.#end('SIGKILL');
  }

  async #end(signal) {
    this.#process.kill(signal);
    const how = await Promise.race([this.#exited, sleep(STOP_MS_MAX, null, { ref: false })]);
    if (how === null) {
      this.#process.kill('SIGKILL');
      throw new Error(`the broker still ran ${STOP_MS_MAX} ms after ${signal}:\n${this.#output}`);
    }
    return how;
  }

  async remove() {
    await rm(this.dataDirectory, { recursive: true, force: true });
  }
}

/**
 * One broker for all tests of the calling file. Connections are closed at the end of the test that
 * asked for them.
 */
export function useBroker() {
  const names = [];
  const lent = { url: process.env.CONFORMANCE_URL, connect, channel, confirmChannel, name, queue, exchange };
  let broker = null;

  before(async () => {
    if (borrowed) return;
    broker = await Broker.start();
    lent.url = broker.url;
  });

  after(async () => {
    if (borrowed) return leaveNothingBehind(lent.url, names);
    if (!broker) return;
    try {
      await broker.stop();
    } finally {
      await broker.remove();
    }
  });

  async function connect(t, { url = lent.url, ...socketOptions } = {}) {
    const connection = await amqp.connect(url, { noDelay: true, ...socketOptions });
    // Errors are the subject of many tests, which listen for themselves; without any listener
    // Node would end the process.
    connection.on('error', () => {});
    t.after(() => hangUp(connection));
    return connection;
  }

  async function channel(t, connection) {
    const opened = await (connection ?? (await connect(t))).createChannel();
    return opened.on('error', () => {});
  }

  async function confirmChannel(t, connection) {
    const opened = await (connection ?? (await connect(t))).createConfirmChannel();
    return opened.on('error', () => {});
  }

  /** A name nobody else uses, so that tests may share a broker. */
  function name(kind) {
    const unique = `node-${kind}-${randomBytes(6).toString('hex')}`;
    names.push(unique);
    return unique;
  }

  /** An exclusive queue, bound to whatever `bindings` lists as [exchange, key, arguments]. */
  async function queue(onChannel, ...bindings) {
    const declared = name('queue');
    await onChannel.assertQueue(declared, { exclusive: true, durable: false });
    for (const [source, key, argumentsTable] of bindings) {
      await onChannel.bindQueue(declared, source, key, argumentsTable);
    }
    return declared;
  }

  async function exchange(onChannel, type, options = {}) {
    const declared = name(type);
    await onChannel.assertExchange(declared, type, { durable: false, ...options });
    return declared;
  }

  return lent;
}

/** Closes what may be closed already, or lose its socket while it closes. */
function hangUp(connection) {
  const closed = new Promise((resolve) => connection.once('close', resolve));
  return Promise.race([closed, connection.close().catch(() => {})]);
}

async function leaveNothingBehind(url, names) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  for (const unique of names) {
    await channel.deleteQueue(unique);
    await channel.deleteExchange(unique);
  }
  await connection.close();
}
