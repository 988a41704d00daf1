// Waiting for what a broker does in its own time, never longer than a test can afford.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS_MAX = 10_000;

/** The value of `promise`, or an error that tells what did not come. */
export async function soon(promise, what, limitMs = WAIT_MS_MAX) {
  const timer = new AbortController();
  const late = sleep(limitMs, undefined, { signal: timer.signal }).then(
    () => {
      throw new Error(`${what} did not come within ${limitMs} ms`);
    },
    () => {},
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** The first argument of the next `event` of `emitter`. */
export function next(emitter, event) {
  return soon(new Promise((resolve) => emitter.once(event, resolve)), `the event '${event}'`);
}

/** Asks until `question` answers something true. */
export async function until(question, what) {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `${what} did not happen within ${WAIT_MS_MAX} ms`);
    await sleep(10);
  }
}

/** A consumer that keeps what it gets, in order; a cancel by the server is kept as null. */
export async function collect(channel, queue, options) {
  const messages = [];
  const waiting = [];
  const { consumerTag } = await channel.consume(
    queue,
    (message) => {
      messages.push(message);
      for (const check of waiting.splice(0)) check();
    },
    options,
  );
  function have(count) {
    return new Promise((resolve) => {
      const check = () => (messages.length >= count ? resolve(messages) : waiting.push(check));
      check();
    });
  }
  return {
    consumerTag,
    messages,
    bodies: () => messages.map(text),
    /** Waits until `count` have come. */
    atLeast: (count, limitMs) => soon(have(count), `message ${count} of ${queue}`, limitMs),
    /** Waits until `count` have come, then a little for one too many. */
    async exactly(count) {
      await soon(have(count), `message ${count} of ${queue}`);
      await sleep(50);
      assert.equal(messages.length, count, `messages from ${queue}`);
      return messages;
    },
  };
}

export function text(message) {
  return message === null ? null : message.content.toString();
}

/** All ready messages of `queue`, fetched one by one and acknowledged. */
export async function drain(channel, queue) {
  const messages = [];
  for (let message; (message = await channel.get(queue, { noAck: true })); ) messages.push(message);
  return messages;
}

/**
 * Runs `operation`, which the server must answer by closing `channel` with `code`, and checks what
 * amqplib tells of it: the rejected promise, the event 'error', the event 'close'.
 */
export async function refused(channel, code, pattern, operation) {
  const error = next(channel, 'error');
  const closed = next(channel, 'close');
  // Whichever check fails first is the one to report.
  for (const event of [error, closed]) event.catch(() => {});
  const answer = operation();
  if (answer instanceof Promise) {
    await assert.rejects(answer, (rejection) => {
      assert.equal(rejection.code, code, rejection.message);
      return true;
    });
  }
  const reported = await error;
  assert.equal(reported.code, code, reported.message);
  assert.match(reported.message, pattern);
  await closed;
  assert.throws(() => channel.ackAll(), { name: 'IllegalOperationError' });
  return reported;
}
