// What the producer and the workers agree on: the queue, and what an order is.

import { setTimeout as sleep } from 'node:timers/promises';

export const QUEUE = process.env.ORDERS_QUEUE ?? 'orders';

/** How long a worker takes for an order. */
const WORK_MS = Number(process.env.WORK_MS ?? 100);

/** Declares the queue: whoever comes first creates it, for the others it is a check. */
export async function declare(channel) {
  await channel.assertQueue(QUEUE, { durable: true });
}

export function placeOrder(number) {
  return {
    id: `order-${number}`,
    customer: `customer-${(number * 7) % 13}`,
    items: number % 25 === 0 ? [] : [{ article: `article-${number % 5}`, count: 1 + (number % 3) }],
  };
}

/** An order that cannot be carried out, now or later. */
export class ImpossibleOrder extends Error {}

const busyOnce = new Set();

/** Stands for what your program does. Sometimes it fails, as things do. */
export async function fulfil(order) {
  await sleep(WORK_MS);
  if (!order.items?.length) throw new ImpossibleOrder('it has no items');
  if (order.id.endsWith('3') && !busyOnce.has(order.id)) {
    busyOnce.add(order.id);
    throw new Error('the warehouse is busy');
  }
}
