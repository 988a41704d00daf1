// Tutorial 1: sends a greeting.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const queue = 'hello';
    const message = 'Hello World!';
    channel.assertQueue(queue, { durable: false });
    channel.sendToQueue(queue, Buffer.from(message));
    console.log('sent %s', message);
  });
  // Gives what was sent the time to leave.
  setTimeout(() => connection.close(() => process.exit(0)), 200);
});
