// Fulfils orders one at a time until it is told to stop. Start as many as you like.
//
//   node worker.mjs

import { whileConnected } from './connection.mjs';
import { ImpossibleOrder, QUEUE, declare, fulfil } from './orders.mjs';

const stop = new AbortController();
const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());

// What this worker has done. A real one asks its database, in the transaction that does the work.
const done = new Set();

await whileConnected('order worker', takeOrders, stop.signal);

async function takeOrders(connection) {
  const channel = await connection.createChannel();
  let fail;
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // it is raced below, and may fail before
  channel.on('error', fail);

  await declare(channel);
  // One order at a time: the next comes when this one is settled, and a free worker gets it first.
  await channel.prefetch(1);
  let working = Promise.resolve();
  const { consumerTag } = await channel.consume(QUEUE, (message) => {
    if (message === null) fail(new Error(`the queue ${QUEUE} was deleted`));
    else working = work(channel, message);
  });
  console.log('waiting for orders');

  await Promise.race([stopped, failed]);
  // Take no new order, finish the one at hand, and let its acknowledgement leave.
  await channel.cancel(consumerTag);
  await working;
  await channel.close();
}

async function work(channel, message) {
  const id = message.properties.messageId;
  try {
    if (!done.has(id)) {
      await fulfil(parse(message.content));
      done.add(id);
      console.log(`fulfilled ${id}`);
    }
    settle(() => channel.ack(message));
  } catch (error) {
    if (error instanceof ImpossibleOrder) {
      // Without requeue: trying again would fail again, for ever.
      console.log(`rejected ${id}: ${error.message}`);
      settle(() => channel.nack(message, false, false));
    } else {
      // With requeue: back to its place in the queue, for whoever is free.
      console.log(`returned ${id}: ${error.message}`);
      settle(() => channel.nack(message));
    }
  }
}

function parse(content) {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new ImpossibleOrder(`it is no JSON: ${error.message}`);
  }
}

function settle(tell) {
  try {
    tell();
  } catch {
    // The channel went away while we worked. The broker gives the order to somebody again, and
    // `done` knows it.
  }
}
