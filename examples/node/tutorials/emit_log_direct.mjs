// Tutorial 4: tells something of a severity: emit_log_direct.mjs error "the roof leaks".

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'direct_logs';
    const [severity = 'info', ...words] = process.argv.slice(2);
    const message = words.join(' ') || 'nothing new';
    channel.assertExchange(exchange, 'direct', { durable: false });
    channel.publish(exchange, severity, Buffer.from(message));
    console.log('sent %s: %s', severity, message);
  });
  // Gives what was sent the time to leave.
  setTimeout(() => connection.close(() => process.exit(0)), 200);
});
