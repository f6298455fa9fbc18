import type pg from 'pg';

import { PipelineError } from '../../runtime/errors.ts';
import { formatLsn, type Lsn } from '../../schemas/lsn.ts';
import { quoteIdentifier, quoteLiteral, type SqlSession } from './connection.ts';
import { translateSourceError } from './errors.ts';

/**
 * What takes the stream. Both methods run while the socket's buffer is parsed: bytes are valid only
 * until the method returns, unless it returns a promise; then nothing further is delivered before
 * the promise settles, the socket is paused, and what was already parsed is copied and kept.
 */
export interface StreamConsumer {
  /** One pgoutput message; `lsn` is the WAL position that it belongs to. */
  message(bytes: Buffer, lsn: Lsn): Promise<void> | undefined;
  /** Everything below `walEnd` has been decoded and sent. */
  keepalive(walEnd: Lsn, replyRequested: boolean): Promise<void> | undefined;
}

export interface StreamOptions {
  readonly slot: string;
  readonly publication: string;
  /** Where to begin; below the slot's confirmed position the server begins at that one. */
  readonly startLsn: Lsn;
  /** A status update goes out at least this often, whatever the consumer does. */
  readonly statusIntervalMs: number;
  readonly consumer: StreamConsumer;
}

/** `pg` knows how to send CopyData; its types do not say so. */
type ReplicationConnection = pg.Connection & { sendCopyFromChunk(chunk: Buffer): void };

/** Frames inside CopyData: 'w' WAL data, 'k' keepalive, 'r' our status update. */
const walData = 0x77;
const keepalive = 0x6b;
const statusUpdate = 0x72;
const walDataHeaderBytes = 25;
/** Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch. */
const postgresEpochUs = 946_684_800_000_000n;

/**
 * Logical replication over `pg`'s own connection: exact positions, acknowledgement only of what
 * `confirm` was told, and back-pressure by pausing the socket.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
export class ReplicationStream {
  readonly #session: SqlSession;
  readonly #options: StreamOptions;
  #connection: ReplicationConnection | null = null;
  #confirmed: Lsn;
  #statusTimer: NodeJS.Timeout | null = null;
  /** Frames that arrived while the consumer was busy; at most what one socket read held. */
  #waiting: Buffer[] = [];
  #busy = false;
  #delivering: Promise<void> | undefined;
  #halted = false;
  #stopped = false;
  readonly #ended = Promise.withResolvers<void>();

  constructor(session: SqlSession, options: StreamOptions) {
    this.#session = session;
    this.#options = options;
    this.#confirmed = options.startLsn;
    this.#ended.promise.catch(() => undefined);
  }

  /** Settles when the stream ends: resolves after `stop`, else rejects with what ended it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get confirmed(): Lsn {
    return this.#confirmed;
  }

  start(): void {
    const command = this.#startCommand();
    this.#session.on('error', (error) => this.#fail(error));
    this.#session.on('end', () => this.#fail(new Error('Connection terminated unexpectedly')));
    this.#session.query({
      submit: (connection: pg.Connection) => {
        this.#connection = connection as ReplicationConnection;
        connection.query(command);
      },
      handleCopyData: (frame: { readonly chunk: Buffer }) => this.#receive(frame.chunk),
      handleError: (error: Error) => this.#fail(error),
      handleCommandComplete: () => undefined,
      handleReadyForQuery: () => this.#fail(new Error('Connection terminated by the server')),
    });
    this.#statusTimer = setInterval(() => this.#sendStatus(), this.#options.statusIntervalMs);
  }

  /** Tells the server that everything below `lsn` is durable. Never lowers what was confirmed. */
  confirm(lsn: Lsn): void {
    if (lsn <= this.#confirmed) return;
    this.#confirmed = lsn;
    this.#sendStatus();
  }

  /** Delivers nothing more; resolves when the consumer is done with what it was given. */
  async halt(): Promise<void> {
    this.#halted = true;
    this.#waiting = [];
    await this.#delivering;
  }

  /** Sends the last status and closes the connection. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#sendStatus();
    this.#finish();
    this.#ended.resolve();
    // A paused socket never reads the server's farewell.
    this.#connection?.stream.resume();
    await this.#session.end().catch(() => undefined);
  }

  /** Keywords of replication commands are upper case only. */
  #startCommand(): string {
    const { slot, publication, startLsn } = this.#options;
    const parameters = [
      `proto_version '2'`,
      `publication_names ${quoteLiteral(quoteIdentifier(publication))}`,
      `streaming 'on'`,
      `messages 'true'`,
    ];
    const from = `SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(startLsn)}`;
    return `START_REPLICATION ${from} (${parameters.join(', ')})`;
  }

  #receive(bytes: Buffer): void {
    if (this.#stopped || this.#halted) return;
    if (this.#busy) {
      // The parser reuses its buffer, so what has to wait is copied.
      this.#waiting.push(Buffer.from(bytes));
      return;
    }
    try {
      const pending = this.#deliver(bytes);
      if (pending !== undefined) this.#delivering = this.#wait(pending);
    } catch (error) {
      this.#fail(error);
    }
  }

  #deliver(bytes: Buffer): Promise<void> | undefined {
    const { consumer } = this.#options;
    switch (bytes[0]) {
      case walData:
        return consumer.message(bytes.subarray(walDataHeaderBytes), bytes.readBigUInt64BE(1));
      case keepalive: {
        const replyRequested = bytes[17] === 1;
        if (replyRequested) this.#sendStatus();
        return consumer.keepalive(bytes.readBigUInt64BE(1), replyRequested);
      }
      default:
        throw new PipelineError(
          'protocol-violation',
          `unknown replication frame ${String(bytes[0])} of ${bytes.length} bytes`,
        );
    }
  }

  async #wait(pending: Promise<void>): Promise<void> {
    this.#busy = true;
    this.#connection?.stream.pause();
    try {
      await pending;
      while (this.#waiting.length > 0) {
        const frames = this.#waiting;
        this.#waiting = [];
        for (const [index, frame] of frames.entries()) {
          if (this.#stopped || this.#halted) return;
          const next = this.#deliver(frame);
          if (next === undefined) continue;
          await next;
          if (index % 256 === 255) await new Promise(setImmediate);
        }
      }
      this.#busy = false;
      this.#connection?.stream.resume();
    } catch (error) {
      this.#fail(error);
    }
  }

  #sendStatus(): void {
    if (this.#connection === null || this.#stopped) return;
    this.#connection.sendCopyFromChunk(encodeStatus(this.#confirmed, Date.now()));
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#finish();
    this.#ended.reject(translateSourceError(error, 'streaming'));
    this.#connection?.stream.destroy();
  }

  #finish(): void {
    this.#stopped = true;
    this.#waiting = [];
    if (this.#statusTimer !== null) clearInterval(this.#statusTimer);
  }
}

/** Standby status update: the same position as written, flushed and applied. */
function encodeStatus(lsn: Lsn, nowMs: number): Buffer {
  const frame = Buffer.alloc(34);
  frame[0] = statusUpdate;
  frame.writeBigUInt64BE(lsn, 1);
  frame.writeBigUInt64BE(lsn, 9);
  frame.writeBigUInt64BE(lsn, 17);
  frame.writeBigInt64BE(BigInt(nowMs) * 1000n - postgresEpochUs, 25);
  return frame;
}
