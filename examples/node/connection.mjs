// Keeps a program connected: connects, does the work, and does it again on a new connection when
// the old one is lost.

import { setTimeout as sleep } from 'node:timers/promises';

import amqp from 'amqplib';

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672';
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 10_000;

/**
 * Calls `work(connection)` and is done when it is. If the connection is lost before that, work is
 * called again with a new connection: it has to declare, subscribe and publish anew.
 *
 * An aborted `signal` ends the attempts to connect; ending the work is the work's own affair.
 */
export async function whileConnected(name, work, signal) {
  for (;;) {
    const connection = await connect(name, signal);
    if (!connection) return;
    let lost = false;
    const whenLost = new Promise((_, reject) => {
      // Without a listener for 'error', Node ends the program. 'close' follows and is enough.
      connection.on('error', () => {});
      connection.on('close', (reason) => {
        lost = true;
        reject(reason ?? new Error('the connection was closed'));
      });
    });
    whenLost.catch(() => {});

    try {
      await Promise.race([work(connection), whenLost]);
      await connection.close().catch(() => {}); // if it breaks now, it is closed as well
      return;
    } catch (error) {
      if (!lost) throw error; // a mistake of ours: trying again would not mend it
      console.error(`connection lost: ${error.message}`);
    }
  }
}

async function connect(name, signal) {
  let delayMs = RETRY_MS_MIN;
  while (!signal?.aborted) {
    try {
      return await amqp.connect(URL, {
        noDelay: true,
        timeout: RETRY_MS_MAX,
        clientProperties: { connection_name: name },
      });
    } catch (error) {
      // A wrong password stays wrong however often it is tried.
      if (/ACCESS.REFUSED/.test(error.message)) throw error;
      console.error(`cannot connect: ${error.message || error.code}`);
      // The random part keeps a hundred workers from coming back in the same instant.
      await sleep(delayMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      delayMs = Math.min(2 * delayMs, RETRY_MS_MAX);
    }
  }
}
