// Tutorial 5: prints what is told under keys of the patterns given, until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'topic_logs';
    channel.assertExchange(exchange, 'topic', { durable: false });
    channel.assertQueue('', { exclusive: true }, (error2, q) => {
      if (error2) throw error2;
      for (const pattern of process.argv.slice(2)) {
        channel.bindQueue(q.queue, exchange, pattern);
      }
      channel.consume(
        q.queue,
        ({ fields, content }) => console.log('%s: %s', fields.routingKey, content.toString()),
        { noAck: true },
        () => console.log('waiting for logs, Ctrl-C ends'),
      );
    });
  });
  process.once('SIGINT', () => connection.close(() => console.log('bye')));
});
