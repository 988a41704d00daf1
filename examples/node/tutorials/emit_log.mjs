// Tutorial 3: tells something to everybody who listens.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'logs';
    const message = process.argv.slice(2).join(' ') || 'nothing new';
    channel.assertExchange(exchange, 'fanout', { durable: false });
    channel.publish(exchange, '', Buffer.from(message));
    console.log('sent %s', message);
  });
  // Gives what was sent the time to leave.
  setTimeout(() => connection.close(() => process.exit(0)), 200);
});
