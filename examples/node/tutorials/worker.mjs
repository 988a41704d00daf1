// Tutorial 2: works on one task after the other until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const queue = 'task_queue';
    channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    channel.prefetch(1);
    channel.consume(
      queue,
      (message) => {
        const text = message.content.toString();
        console.log('received %s', text);
        const dots = text.split('.').length - 1;
        setTimeout(() => {
          console.log('done %s', text);
          channel.ack(message);
        }, dots * 100);
      },
      { noAck: false },
      () => console.log('waiting for tasks, Ctrl-C ends'),
    );
  });
  process.once('SIGINT', () => connection.close(() => console.log('bye')));
});
