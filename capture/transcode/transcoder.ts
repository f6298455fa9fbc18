import type { LogRecord } from '../../log/log.ts';
import type { Lsn } from '../../schemas/lsn.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';

/** What is the same for every change of one table version; pre-encoded once. */
export interface TranscoderOptions {
  readonly table: TableSchema;
  /** Topic prefix = Debezium's logical name (`source.name`). */
  readonly prefix: string;
  readonly database: string;
  /** Ids of the registered schemas; null for a table without a key. */
  readonly keySchemaId: number | null;
  readonly valueSchemaId: number;
  /** `source.connector` and `source.version`. */
  readonly connector: string;
  readonly version: string;
}

/** What is the same for every change of one transaction (or one snapshot chunk). */
export interface TransactionFrame {
  readonly xid: number | null;
  readonly commitLsn: Lsn;
  readonly committedAtUs: bigint;
  /** End LSN of the transaction before it, for `source.sequence`; null when none was seen. */
  readonly lastCommitLsn: Lsn | null;
  /** 'false' for streamed changes, 'incremental' for rows of a chunk. */
  readonly snapshot: string;
  readonly origin: { readonly name: string; readonly lsn: Lsn } | null;
}

/** What differs from change to change. */
export interface ChangeFrame {
  readonly transaction: TransactionFrame;
  /** WAL position of this change (`source.lsn`). */
  readonly lsn: Lsn;
  /** The position: its text up to the ordinal, the same for every change of a transaction, and the ordinal. */
  readonly seqPrefix: string;
  readonly ordinal: number;
  /** Capture's clock: microseconds since 1970. */
  readonly capturedAtUs: bigint;
  /** With transaction metadata on: Debezium's `transaction` block. */
  readonly block: {
    readonly id: string;
    readonly totalOrder: bigint;
    readonly collectionOrder: bigint;
  } | null;
}

/** A record and the partition of the topic that its key hashes to is the caller's business. */
export type TranscodedRecords = readonly LogRecord[];

/**
 * Tuple bytes → Confluent-framed Debezium envelopes in Avro, compiled for one table version. Makes no
 * row objects. Every method gives the records of one change in log order: 1 for an insert or update,
 * 2 for a delete (delete, tombstone), 3 for a key change (delete, tombstone, insert half).
 * Throws `value-invalid` for text that PostgreSQL cannot have written, `protocol-violation` when the
 * tuple has another number of columns than the table version.
 */
export interface Transcoder {
  insert(frame: ChangeFrame, after: TupleBytes): TranscodedRecords;
  update(
    frame: ChangeFrame,
    before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes } | null,
    after: TupleBytes,
  ): TranscodedRecords;
  delete(
    frame: ChangeFrame,
    before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes },
  ): TranscodedRecords;
  truncate(frame: ChangeFrame): TranscodedRecords;
  /** A row of a snapshot chunk (op `r`). */
  read(frame: ChangeFrame, row: TupleBytes): TranscodedRecords;
}
