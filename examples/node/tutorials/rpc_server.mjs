// Tutorial 6: answers with Fibonacci numbers until Ctrl-C.

import amqp from 'amqplib/callback_api';

amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost', (error0, connection) => {
  if (error0) throw error0;
  connection.createChannel((error1, channel) => {
    if (error1) throw error1;

    const queue = 'rpc_queue';
    channel.assertQueue(queue, { durable: false });
    channel.prefetch(1);
    channel.consume(
      queue,
      (message) => {
        const n = Number(message.content.toString());
        const answer = fibonacci(n);
        console.log('fibonacci(%d) = %d', n, answer);
        channel.sendToQueue(message.properties.replyTo, Buffer.from(answer.toString()), {
          correlationId: message.properties.correlationId,
        });
        channel.ack(message);
      },
      {},
      () => console.log('waiting for requests, Ctrl-C ends'),
    );
  });
  process.once('SIGINT', () => connection.close(() => console.log('bye')));
});

function fibonacci(n) {
  let [current, following] = [0, 1];
  for (let step = 0; step < n; step += 1) [current, following] = [following, current + following];
  return current;
}
