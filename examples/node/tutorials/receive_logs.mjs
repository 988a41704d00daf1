// Tutorial 3: prints all that is told, until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'logs';
    channel.assertExchange(exchange, 'fanout', { durable: false });
    channel.assertQueue('', { exclusive: true }, (error2, q) => {
      if (error2) throw error2;
      channel.bindQueue(q.queue, exchange, '');
      channel.consume(
        q.queue,
        (message) => console.log(message.content.toString()),
        { noAck: true },
        () => console.log('waiting for logs, Ctrl-C ends'),
      );
    });
  });
  process.once('SIGINT', () => connection.close(() => console.log('bye')));
});
