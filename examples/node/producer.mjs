// Places orders, and is done when the broker has confirmed every one of them.
//
//   node producer.mjs [how many]

import { whileConnected } from './connection.mjs';
import { QUEUE, declare, placeOrder } from './orders.mjs';

const count = Number(process.argv[2] ?? 50);

// An order stays here until its confirm has come: only then does the broker answer for it.
const unconfirmed = new Map();
for (let number = 1; number <= count; number += 1) {
  const order = placeOrder(number);
  unconfirmed.set(order.id, order);
}

await whileConnected('order producer', async (connection) => {
  const channel = await connection.createConfirmChannel();
  await declare(channel);
  // A mandatory message that reaches no queue comes back, and is confirmed all the same.
  channel.on('return', ({ properties }) => {
    console.error(`${properties.messageId} came back: no queue took it`);
    process.exitCode = 1;
  });

  // After a lost connection this sends again what has no confirm. Some of it may have arrived, so
  // an order can come twice; its message id lets the workers see that.
  for (const order of unconfirmed.values()) {
    const room = channel.sendToQueue(
      QUEUE,
      Buffer.from(JSON.stringify(order)),
      {
        persistent: true,
        mandatory: true,
        contentType: 'application/json',
        messageId: order.id,
        timestamp: Math.floor(Date.now() / 1000),
      },
      (error) => {
        if (!error) unconfirmed.delete(order.id);
      },
    );
    // The broker takes no more for the moment: wait rather than fill the memory.
    if (!room) await new Promise((resolve) => channel.once('drain', resolve));
  }
  await channel.waitForConfirms();
});

console.log(`${count} orders confirmed`);
