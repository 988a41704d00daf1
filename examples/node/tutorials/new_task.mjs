// Tutorial 2: puts a task into the work queue; every dot is a tenth of a second of work.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const queue = 'task_queue';
    const message = process.argv.slice(2).join(' ') || 'a task.';
    channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    channel.sendToQueue(queue, Buffer.from(message), { persistent: true });
    console.log('sent %s', message);
  });
  // Gives what was sent the time to leave.
  setTimeout(() => connection.close(() => process.exit(0)), 200);
});
