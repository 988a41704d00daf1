// Tutorial 5: tells something under a key of words: emit_log_topic.mjs roof.critical "it leaks".

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const exchange = 'topic_logs';
    const [key = 'anonymous.info', ...words] = process.argv.slice(2);
    const message = words.join(' ') || 'nothing new';
    channel.assertExchange(exchange, 'topic', { durable: false });
    channel.publish(exchange, key, Buffer.from(message));
    console.log('sent %s: %s', key, message);
  });
  // Gives what was sent the time to leave.
  setTimeout(() => connection.close(() => process.exit(0)), 200);
});
