// Tutorial 6: asks for a Fibonacci number: rpc_client.mjs 30.

import { randomUUID } from 'node:crypto';

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const n = Number(process.argv[2] ?? 30);
    channel.assertQueue('', { exclusive: true }, (error2, q) => {
      if (error2) throw error2;
      const correlationId = randomUUID();
      channel.consume(
        q.queue,
        (message) => {
          if (message.properties.correlationId !== correlationId) return;
          console.log('fibonacci(%d) = %s', n, message.content.toString());
          connection.close(() => process.exit(0));
        },
        { noAck: true },
      );
      channel.sendToQueue('rpc_queue', Buffer.from(n.toString()), {
        correlationId,
        replyTo: q.queue,
      });
    });
  });
});
