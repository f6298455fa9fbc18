import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

const lengthBytes = 4;
const produceKey = 0;

/** A proxy on loopback between Kafka's clients and a broker that advertises the proxy's port. */
export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #target = 0;
  #isSwallowing = false;
  #isHolding = false;
  readonly #held: (() => void)[] = [];
  /** Produce requests whose answers nobody got. */
  swallowed = 0;

  private constructor(server: Server) {
    this.#server = server;
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    server.on('connection', (socket) => this.#join(socket));
  }

  static async listen(): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server);
  }

  forwardTo(port: number): void {
    this.#target = port;
  }

  /** From now on no connection that sends a produce request hears anything any more. */
  swallowProduceReplies(isOn: boolean): void {
    this.#isSwallowing = isOn;
  }

  /** From now on produce requests, and what follows on their connections, wait here, even if the client goes. */
  holdProduceRequests(): void {
    this.#isHolding = true;
  }

  /** How many pieces wait. */
  get held(): number {
    return this.#held.length;
  }

  /** What waited goes to the broker, late. */
  releaseHeld(): void {
    this.#isHolding = false;
    for (const release of this.#held.splice(0)) release();
  }

  /** Nothing listens on the port any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client: Socket): void {
    const broker = connect(this.#target, '127.0.0.1');
    const frames = new RequestFrames();
    let isDeaf = false;
    let isHeld = false;
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        // A dead client's request is on its way all the same.
        if (!isHeld) to.destroy();
      });
    }
    client.on('data', (bytes) => {
      const produces = frames.add(bytes).filter((key) => key === produceKey).length;
      if (this.#isSwallowing && produces > 0) {
        isDeaf = true;
        this.swallowed += produces;
      }
      isHeld ||= this.#isHolding && produces > 0;
      if (isHeld) this.#held.push(() => broker.write(bytes));
      else broker.write(bytes);
    });
    broker.on('data', (bytes) => {
      if (!isDeaf) client.write(bytes);
    });
  }
}

/** Finds the kind of each request in what a client sends: length, then API key. */
class RequestFrames {
  #pending = Buffer.alloc(0);
  #skip = 0;

  /** API keys of the requests that begin in these bytes. */
  add(bytes: Buffer): readonly number[] {
    const keys: number[] = [];
    this.#pending = Buffer.concat([this.#pending, bytes]);
    for (;;) {
      const skipped = Math.min(this.#skip, this.#pending.length);
      this.#pending = this.#pending.subarray(skipped);
      this.#skip -= skipped;
      if (this.#skip > 0 || this.#pending.length < lengthBytes + 2) return keys;
      keys.push(this.#pending.readInt16BE(lengthBytes));
      this.#skip = lengthBytes + this.#pending.readInt32BE(0);
    }
  }
}
