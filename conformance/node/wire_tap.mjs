// A proxy between an unmodified client and the broker that keeps the bytes of both directions.
// What a client library makes of a header says little about the bytes that travelled; this does.

import net from 'node:net';

const CONTENT_HEADER = 2;
const CLASS_BASIC = 60;

export class WireTap {
  toBroker = [];
  toClient = [];
  #sockets = [];

  static async open(t, url) {
    const target = new URL(url);
    const tap = new WireTap();
    const server = net.createServer((client) => {
      const broker = net.connect(Number(target.port || 5672), target.hostname);
      tap.#listen(client, broker, tap.toBroker);
      tap.#listen(broker, client, tap.toClient);
      tap.#sockets.push(client, broker);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      tap.cut();
      server.close();
    });
    const through = new URL(url);
    through.hostname = '127.0.0.1';
    through.port = server.address().port;
    tap.url = through.href;
    return tap;
  }

  /** Breaks all connections off without a word. */
  cut() {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }

  #listen(from, to, kept) {
    from.on('data', (bytes) => {
      kept.push(bytes);
      to.write(bytes);
    });
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }

  /** Frames as {type, channel, payload}. Only for taps with a single connection. */
  static frames(chunks) {
    const bytes = Buffer.concat(chunks);
    const frames = [];
    let at = bytes.subarray(0, 4).toString() === 'AMQP' ? 8 : 0;
    while (at + 7 <= bytes.length) {
      const size = bytes.readUInt32BE(at + 3);
      if (at + 8 + size > bytes.length) break;
      frames.push({
        type: bytes[at],
        channel: bytes.readUInt16BE(at + 1),
        payload: bytes.subarray(at + 7, at + 7 + size),
      });
      at += 8 + size;
    }
    return frames;
  }

  /** The content headers that went by, each as the bytes from the class id on. */
  static contentHeaders(chunks) {
    return WireTap.frames(chunks)
      .filter((frame) => frame.type === CONTENT_HEADER && frame.payload.readUInt16BE(0) === CLASS_BASIC)
      .map((frame) => frame.payload);
  }
}
