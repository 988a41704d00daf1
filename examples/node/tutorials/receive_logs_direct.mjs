// Tutorial 4: prints what is told of the severities given, until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'direct_logs';
    channel.assertExchange(exchange, 'direct', { durable: false });
    channel.assertQueue('', { exclusive: true }, (error2, q) => {
      if (error2) throw error2;
      for (const severity of process.argv.slice(2)) {
        channel.bindQueue(q.queue, exchange, severity);
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
