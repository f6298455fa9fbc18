import type { LogRecord } from '../log/log.ts';
import { assert } from '../runtime/assert.ts';
import { PipelineError } from '../runtime/errors.ts';
import { headerSeq } from '../schemas/control.ts';
import { formatLsn, type Lsn } from '../schemas/lsn.ts';
import {
  cutAfter,
  formatPosition,
  positionPrefixLength,
  type PositionText,
} from '../schemas/position.ts';
import { tableName } from '../schemas/table-schema.ts';
import type { Pending, RowMessage, TransactionConsumer, TransactionStart } from './assemble.ts';
import type { Batcher, PartitionBuffer } from './batcher.ts';
import type { StreamMark } from './control-writer.ts';
import { failpoint } from './failpoint.ts';
import type { Pacer } from './pacer.ts';
import type { LogicalMessage, RelationMessage } from './pgoutput/message.ts';
import {
  type ChunkEmission,
  fencePrefix,
  type Snapshot,
  type StreamedChange,
} from './snapshot/snapshot.ts';
import type { TableRoute, Tables } from './tables.ts';
import type { LogTails } from './log-tails.ts';
import type { TransactionTopic } from './transaction-topic.ts';
import type { ChangeFrame, TransactionFrame } from './transcode/transcoder.ts';

export interface ChangeWriterOptions {
  readonly generation: number;
  readonly tables: Tables;
  readonly batcher: Batcher<StreamMark>;
  readonly pacer: Pacer;
  readonly snapshot: Snapshot;
  /** What the log already holds. */
  readonly tails: LogTails;
  /** A batch that holds this much is appended although its transaction is not complete. */
  readonly batchBytesMax: number;
  readonly lastCommitLsn: Lsn | null;
  /** null: no transaction metadata is written. */
  readonly transactions: TransactionTopic | null;
}

/** The transaction or chunk whose changes are being written. */
interface OpenFrame {
  readonly transaction: TransactionFrame;
  /** Generation and commit LSN of its positions, as text. */
  readonly seqPrefix: string;
  readonly xid: number;
  /** The log may hold some of its records already. */
  readonly mayBeHeld: boolean;
  /** BEGIN was written, so END belongs behind the last change. */
  readonly isTold: boolean;
}

/** Of logical messages of this program: of a fence's flush, of `verify`. They are no change of anybody's. */
const ownPrefix = 'tributary.';

/** Changes after which capture's clock is read again. */
const clockChanges = 64;

/** Rows of a chunk written before the event loop gets a turn. */
const chunkTurnRows = 512;

/**
 * Writes transactions to the log: numbers their changes, transcodes them, and puts each record into its
 * partition. What the log already holds is numbered and shown to the snapshot, but not written again.
 */
export class ChangeWriter implements TransactionConsumer {
  readonly #options: ChangeWriterOptions;
  #frame: OpenFrame | null = null;
  #ordinal = 0;
  #nowUs = 0n;
  #lastCommitLsn: Lsn | null;

  constructor(options: ChangeWriterOptions) {
    this.#options = options;
    this.#lastCommitLsn = options.lastCommitLsn;
  }

  begin({ xid, commitLsn, committedAtUs }: TransactionStart): void {
    this.#options.pacer.entered();
    this.#open({
      xid,
      commitLsn,
      committedAtUs,
      lastCommitLsn: this.#lastCommitLsn,
      snapshot: 'false',
      origin: null,
    });
    this.#ordinal = 0;
  }

  origin(name: string, lsn: Lsn): void {
    const { transaction, isTold } = this.#current();
    this.#frame = { ...this.#open({ ...transaction, origin: { name, lsn } }), isTold };
  }

  relation(message: RelationMessage): Pending {
    const { seqPrefix } = this.#current();
    return this.#options.tables.relation(message, seqOf(seqPrefix, this.#ordinal + 1));
  }

  change(message: RowMessage, lsn: Lsn): Pending {
    const late = this.#defineLate(message);
    if (late === undefined) return this.#take(message, lsn);
    return late.then(() => this.#take(message, lsn));
  }

  #defineLate(message: RowMessage): Pending {
    const { tables } = this.#options;
    if (message.tag !== 'truncate' && !tables.isPutOff(message.oid)) return undefined;
    const oids = message.tag === 'truncate' ? message.oids : [message.oid];
    if (!oids.some((oid) => tables.isPutOff(oid))) return undefined;
    return tables.defineLate(oids, seqOf(this.#current().seqPrefix, this.#ordinal + 1));
  }

  #take(message: RowMessage, lsn: Lsn): Pending {
    this.#tellBegin(lsn);
    if (message.tag === 'truncate') {
      for (const oid of message.oids) this.#writeChange({ ...message, oids: [oid] }, oid, lsn);
    } else {
      this.#writeChange(message, message.oid, lsn);
    }
    return this.#relieve();
  }

  commit(endLsn: Lsn): Pending {
    const { transaction, isTold } = this.#current();
    const { pacer, snapshot, batcher, transactions } = this.#options;
    const { xid, commitLsn, committedAtUs } = transaction;
    assert(xid !== null, 'a transaction has an xid');
    if (transactions !== null && isTold) this.#tellEnd(transactions, endLsn);
    if (snapshot.active) snapshot.observeCommit({ xid, commitLsn });
    this.#frame = null;
    this.#lastCommitLsn = endLsn;
    pacer.reached({ cut: this.#cutBefore(endLsn), lsn: endLsn, committedAtUs });
    return batcher.room();
  }

  message(message: LogicalMessage): Pending {
    const isOwn = message.prefix.startsWith(ownPrefix);
    if (message.transactional && !isOwn) this.#tellBegin(message.lsn);
    if (message.transactional || message.prefix !== fencePrefix) return undefined;
    const emission = this.#options.snapshot.fence(message);
    if (emission === null) return this.point(message.lsn, false);
    return this.#writeChunk(emission, message.lsn);
  }

  point(lsn: Lsn, replyRequested: boolean): Pending {
    const { pacer, batcher } = this.#options;
    pacer.reached({ cut: this.#cutBefore(lsn), lsn, committedAtUs: null });
    if (replyRequested) pacer.hurry();
    return batcher.room();
  }

  /** Everything that a commit or message below `lsn` can have as its position. */
  #cutBefore(lsn: Lsn): PositionText {
    return cutAfter(this.#options.generation, lsn - 1n);
  }

  #open(transaction: TransactionFrame): OpenFrame {
    const { generation, tails } = this.#options;
    const position = { generation, commitLsn: transaction.commitLsn, ordinal: 0, part: 0 } as const;
    const seqPrefix = formatPosition(position).slice(0, positionPrefixLength);
    const mayBeHeld = tails.reaches(seqPrefix);
    const xid = transaction.xid ?? 0;
    const frame = { transaction, seqPrefix, xid, mayBeHeld, isTold: false };
    this.#frame = frame;
    return frame;
  }

  /** With its first message a transaction is known to be more than nothing. */
  #tellBegin(lsn: Lsn): void {
    const { transactions } = this.#options;
    if (transactions === null) return;
    const frame = this.#current();
    if (frame.isTold) return;
    this.#frame = { ...frame, isTold: true };
    const { seqPrefix, xid, transaction } = frame;
    const { committedAtUs } = transaction;
    const record = transactions.begin({ xid, lsn, committedAtUs, seq: seqOf(seqPrefix, 0) });
    this.#putInto(transactions.buffer, record, frame);
  }

  #tellEnd(transactions: TransactionTopic, lsn: Lsn): void {
    const frame = this.#current();
    const { seqPrefix, xid, transaction } = frame;
    const { committedAtUs } = transaction;
    const seq = seqOf(seqPrefix, this.#ordinal + 1);
    const record = transactions.end({ xid, lsn, committedAtUs, seq });
    this.#putInto(transactions.buffer, record, frame);
  }

  #current(): OpenFrame {
    if (this.#frame === null) {
      throw new PipelineError('protocol-violation', 'a change arrived outside a transaction');
    }
    return this.#frame;
  }

  #writeChange(message: RowMessage, oid: number, lsn: Lsn): void {
    const frame = this.#current();
    this.#ordinal += 1;
    const route = this.#routeOf(oid);
    if (route === null) return;
    const change = streamedChange(message, route, frame.xid);
    this.#write(change, route, lsn);
    if (this.#options.snapshot.active) this.#options.snapshot.observe(change);
  }

  #routeOf(oid: number): TableRoute | null {
    const route = this.#options.tables.route(oid);
    if (route === undefined) {
      throw new PipelineError('protocol-violation', `a change of relation ${oid}, never described`);
    }
    return route;
  }

  #changeFrame(frame: OpenFrame, lsn: Lsn): ChangeFrame {
    if (this.#ordinal % clockChanges <= 1) this.#nowUs = BigInt(Date.now()) * 1000n;
    return {
      transaction: frame.transaction,
      lsn,
      seqPrefix: frame.seqPrefix,
      ordinal: this.#ordinal,
      capturedAtUs: this.#nowUs,
      block: null,
    };
  }

  #write(change: StreamedChange, route: TableRoute, lsn: Lsn): void {
    const frame = this.#current();
    const { transactions } = this.#options;
    const plain = this.#changeFrame(frame, lsn);
    let records: readonly LogRecord[];
    if (transactions === null || !frame.isTold) {
      records = transcode(change, route, plain);
    } else {
      const name = tableName(route.table);
      const block = transactions.block(name, frame.xid, lsn);
      records = transcode(change, route, { ...plain, block });
      transactions.count(name, records);
    }
    failpoint('transcode');
    for (const record of records) this.#put(record, route, frame);
  }

  #put(record: LogRecord, route: TableRoute, frame: OpenFrame): void {
    const buffer = route.buffers[route.partitionOf(record.key)];
    assert(buffer !== undefined, 'a partition below the number of partitions');
    this.#putInto(buffer, record, frame);
  }

  #putInto(buffer: PartitionBuffer, record: LogRecord, frame: OpenFrame): void {
    const { tails, batcher } = this.#options;
    if (frame.mayBeHeld && tails.holds(buffer, seqOfRecord(record))) return;
    batcher.add(buffer, record);
  }

  async #writeChunk(emission: ChunkEmission, fenceLsn: Lsn): Promise<void> {
    const { tables, pacer, batcher } = this.#options;
    pacer.entered();
    this.#open({
      xid: null,
      commitLsn: fenceLsn - 1n,
      committedAtUs: BigInt(Date.now()) * 1000n,
      lastCommitLsn: this.#lastCommitLsn,
      snapshot: 'incremental',
      origin: null,
    });
    this.#ordinal = 0;
    const frame = this.#current();
    const route = await tables.routeFor(emission, seqOf(frame.seqPrefix, 0));
    if (route !== null) await this.#writeRows(emission, route, fenceLsn);
    this.#frame = null;
    pacer.reached({ cut: this.#cutBefore(fenceLsn), lsn: fenceLsn, committedAtUs: null });
    await batcher.room();
  }

  async #writeRows(emission: ChunkEmission, route: TableRoute, fenceLsn: Lsn): Promise<void> {
    for (const change of chunkChanges(emission)) {
      this.#writeChunkChange(change, route, fenceLsn);
      const relieved = this.#relieve();
      if (relieved !== undefined) await relieved;
      this.#ordinal += 1;
      if (this.#ordinal % chunkTurnRows === 0) await new Promise(setImmediate);
    }
  }

  #writeChunkChange(change: ChunkChange, route: TableRoute, lsn: Lsn): void {
    if (change.op !== 'read') {
      this.#write(change, route, lsn);
      return;
    }
    const frame = this.#current();
    for (const record of route.transcoder.read(this.#changeFrame(frame, lsn), change.row)) {
      this.#put(record, route, frame);
    }
  }

  /** Inside a transaction: appends a batch that grew too large, and waits while too much is in flight. */
  #relieve(): Pending {
    const { batcher, batchBytesMax, pacer } = this.#options;
    if (batcher.bytes < batchBytesMax) return undefined;
    const { transaction, seqPrefix } = this.#current();
    pacer.flushInside({
      cut: `${seqOf(seqPrefix, this.#ordinal).slice(0, -1)}2`,
      lsn: transaction.commitLsn,
    });
    return batcher.room();
  }
}

type ChunkChange =
  | StreamedChange
  | { readonly op: 'read'; readonly row: ChunkEmission['rows'][number] };

function* chunkChanges(emission: ChunkEmission): Generator<ChunkChange> {
  const { table } = emission;
  if (emission.truncateFirst) yield { op: 'truncate', table, xid: 0 };
  for (const row of emission.rows) yield { op: 'read', row };
  yield* emission.again;
}

function streamedChange(message: RowMessage, { table }: TableRoute, xid: number): StreamedChange {
  switch (message.tag) {
    case 'insert':
      return { op: 'insert', table, xid, after: message.after };
    case 'update':
      return { op: 'update', table, xid, before: message.before, after: message.after };
    case 'delete':
      return { op: 'delete', table, xid, before: message.before };
    case 'truncate':
      return { op: 'truncate', table, xid };
    default:
      return message satisfies never;
  }
}

function transcode(
  change: StreamedChange,
  { transcoder, table }: TableRoute,
  frame: ChangeFrame,
): readonly LogRecord[] {
  try {
    switch (change.op) {
      case 'insert':
        return transcoder.insert(frame, change.after);
      case 'update':
        return transcoder.update(frame, change.before, change.after);
      case 'delete':
        return transcoder.delete(frame, change.before);
      case 'truncate':
        return transcoder.truncate(frame);
      default:
        return change satisfies never;
    }
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    const where = `${tableName(table)} at LSN ${formatLsn(frame.lsn)} (position ${seqOf(frame.seqPrefix, frame.ordinal)})`;
    throw new PipelineError(error.kind, `${error.message}, in ${where}`, {
      hint: error.hint,
      context: error.context,
      cause: error,
    });
  }
}

function seqOf(seqPrefix: string, ordinal: number): PositionText {
  return `${seqPrefix}${ordinal.toString(16).toUpperCase().padStart(8, '0')}/0`;
}

function seqOfRecord(record: LogRecord): PositionText {
  const header = record.headers.find(([name]) => name === headerSeq);
  assert(header !== undefined, 'every record carries its position');
  return header[1].toString('latin1');
}
