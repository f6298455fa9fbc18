import { PipelineError } from '../runtime/errors.ts';
import type { Lsn } from '../schemas/lsn.ts';
import { failpoint } from './failpoint.ts';
import { decodeMessage } from './pgoutput/decode.ts';
import type {
  DeleteMessage,
  InsertMessage,
  LogicalMessage,
  PgoutputMessage,
  RelationMessage,
  StreamCommitMessage,
  TruncateMessage,
  UpdateMessage,
} from './pgoutput/message.ts';
import type { StreamConsumer } from './postgres/replication-stream.ts';
import type { Spool } from './spool.ts';

export type RowMessage = InsertMessage | UpdateMessage | DeleteMessage | TruncateMessage;

/** What is known of a transaction when its first change is delivered. */
export interface TransactionStart {
  readonly xid: number;
  /** Start of the commit record. */
  readonly commitLsn: Lsn;
  readonly committedAtUs: bigint;
}

/** A promise means: deliver nothing further before it settles. */
export type Pending = Promise<void> | undefined;

/**
 * Takes committed transactions in commit order, each as begin, its surviving changes, commit.
 * Tuples of a change are valid only until `change` returns, or its promise settles.
 */
export interface TransactionConsumer {
  begin(transaction: TransactionStart): void;
  origin(name: string, lsn: Lsn): void;
  relation(message: RelationMessage): Pending;
  change(message: RowMessage, lsn: Lsn): Pending;
  commit(endLsn: Lsn): Pending;
  /** A logical message; a non-transactional one comes between transactions. */
  message(message: LogicalMessage): Pending;
  /** Everything below `lsn` was delivered and no transaction is open. */
  point(lsn: Lsn, replyRequested: boolean): Pending;
}

/** Changes replayed before the event loop gets a turn. */
const replayTurnChanges = 512;

/**
 * Makes ordered transactions of pgoutput's messages. Blocks of in-progress transactions go to the
 * spool; at Stream Commit they are delivered like any other transaction, without the parts of
 * subtransactions that were rolled back.
 *
 * Relation messages of a streamed block are spooled with it and take effect at its commit: pgoutput
 * keeps account per streamed transaction of the schemas it sent, counts them as known to all only
 * when that transaction commits, and sends them again after any rollback of a part of it.
 */
export class Assembler implements StreamConsumer {
  readonly #consumer: TransactionConsumer;
  readonly #spool: Spool;
  /** Xid of the transaction whose block is open. */
  #block: number | null = null;
  #inTransaction = false;
  readonly #origins = new Map<number, { readonly name: string; readonly lsn: Lsn }>();

  readonly #signal: AbortSignal;

  /** The signal ends a replay between two turns, so that a stop need not wait for a huge transaction. */
  constructor(
    consumer: TransactionConsumer,
    options: { readonly spool: Spool; readonly signal: AbortSignal },
  ) {
    this.#consumer = consumer;
    this.#spool = options.spool;
    this.#signal = options.signal;
  }

  message(bytes: Buffer, lsn: Lsn): Pending {
    failpoint('read');
    if (this.#block !== null) {
      this.#spoolMessage(this.#block, bytes, lsn);
      return undefined;
    }
    return this.#dispatch(decodeMessage(bytes, false), lsn);
  }

  keepalive(walEnd: Lsn, replyRequested: boolean): Pending {
    if (this.#inTransaction || this.#block !== null) return undefined;
    return this.#consumer.point(walEnd, replyRequested);
  }

  /** Within a block every message but Stop and Origin carries its xid right after its type. */
  #spoolMessage(topXid: number, bytes: Buffer, lsn: Lsn): void {
    switch (String.fromCharCode(bytes[0] ?? 0)) {
      case 'E':
        this.#block = null;
        return;
      case 'O': {
        const origin = decodeMessage(bytes, true);
        if (origin.tag === 'origin') {
          this.#origins.set(topXid, { name: origin.name, lsn: origin.commitLsn });
        }
        return;
      }
      default:
        if (bytes.length < 5) {
          throw new PipelineError(
            'protocol-violation',
            `message of ${bytes.length} bytes in a block`,
          );
        }
        this.#spool.add(topXid, bytes.readUInt32BE(1), { bytes, lsn });
    }
  }

  #dispatch(message: PgoutputMessage, lsn: Lsn): Pending {
    const consumer = this.#consumer;
    switch (message.tag) {
      case 'begin':
        this.#inTransaction = true;
        consumer.begin(message);
        return undefined;
      case 'commit':
        this.#inTransaction = false;
        return consumer.commit(message.endLsn);
      case 'origin':
        consumer.origin(message.name, message.commitLsn);
        return undefined;
      case 'relation':
        return consumer.relation(message);
      case 'insert':
      case 'update':
      case 'delete':
      case 'truncate':
        return consumer.change(message, lsn);
      case 'message':
        return consumer.message(message);
      case 'stream-start':
        this.#block = message.xid;
        return undefined;
      case 'stream-commit':
        return this.#replay(message);
      case 'stream-abort':
        this.#abort(message.xid, message.subXid);
        return undefined;
      case 'type':
        // Types are read from the catalog, where they say more.
        return undefined;
      case 'stream-stop':
        throw new PipelineError('protocol-violation', 'Stream Stop outside a block');
      default:
        return message satisfies never;
    }
  }

  #abort(topXid: number, subXid: number): void {
    if (topXid !== subXid) {
      this.#spool.abort(topXid, subXid);
      return;
    }
    this.#origins.delete(topXid);
    this.#spool.drop(topXid);
  }

  async #replay(commit: StreamCommitMessage): Promise<void> {
    const consumer = this.#consumer;
    consumer.begin(commit);
    const origin = this.#origins.get(commit.xid);
    if (origin !== undefined) consumer.origin(origin.name, origin.lsn);
    let delivered = 0;
    for await (const messages of this.#spool.read(commit.xid)) {
      for (const { bytes, lsn } of messages) {
        const pending = this.#dispatch(decodeMessage(bytes, true), lsn);
        if (pending !== undefined) await pending;
        delivered += 1;
        if (delivered % replayTurnChanges !== 0) continue;
        // Timers, keepalive answers among them, run between turns.
        await new Promise(setImmediate);
        if (this.#signal.aborted) return;
      }
    }
    this.#origins.delete(commit.xid);
    this.#spool.drop(commit.xid);
    const pending = consumer.commit(commit.endLsn);
    if (pending !== undefined) await pending;
  }
}
