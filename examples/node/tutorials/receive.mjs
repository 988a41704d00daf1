// Tutorial 1: prints greetings until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const queue = 'hello';
    channel.assertQueue(queue, { durable: false });
    channel.consume(
      queue,
      (message) => console.log('received %s', message.content.toString()),
      { noAck: true },
      () => console.log('waiting for messages, Ctrl-C ends'),
    );
  });
  process.once('SIGINT', () => connection.close(() => console.log('bye')));
});
