import type { Lsn } from '../../schemas/lsn.ts';

/**
 * The messages of pgoutput, protocol 1 and 2 (with streaming of in-progress transactions).
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 * Tuples stay bytes: the transcoder reads them where they lie.
 */
export type PgoutputMessage =
  | BeginMessage
  | CommitMessage
  | OriginMessage
  | RelationMessage
  | TypeMessage
  | InsertMessage
  | UpdateMessage
  | DeleteMessage
  | TruncateMessage
  | LogicalMessage
  | StreamStartMessage
  | { readonly tag: 'stream-stop' }
  | StreamCommitMessage
  | StreamAbortMessage;

export interface BeginMessage {
  readonly tag: 'begin';
  /** Start of the commit record: the `commitLsn` of every position in this transaction. */
  readonly commitLsn: Lsn;
  /** Microseconds since 1970-01-01. */
  readonly committedAtUs: bigint;
  readonly xid: number;
}

export interface CommitMessage {
  readonly tag: 'commit';
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly committedAtUs: bigint;
}

export interface OriginMessage {
  readonly tag: 'origin';
  readonly commitLsn: Lsn;
  readonly name: string;
}

export interface RelationColumn {
  readonly name: string;
  readonly isKey: boolean;
  readonly typeOid: number;
  readonly typeModifier: number;
}

export interface RelationMessage {
  readonly tag: 'relation';
  /** Only inside a streamed block. */
  readonly xid?: number;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** 'd' default, 'n' nothing, 'f' full, 'i' index. */
  readonly replicaIdentity: string;
  readonly columns: readonly RelationColumn[];
}

export interface TypeMessage {
  readonly tag: 'type';
  readonly xid?: number;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

/**
 * A tuple where it lies: `bytes` from `offset` = int16 column count, then per column 'n' | 'u' |
 * 't' int32 length, text. Bounds were checked when the message was read.
 */
export interface TupleBytes {
  readonly bytes: Buffer;
  readonly offset: number;
}

export interface InsertMessage {
  readonly tag: 'insert';
  readonly xid?: number;
  readonly oid: number;
  readonly after: TupleBytes;
}

export interface UpdateMessage {
  readonly tag: 'update';
  readonly xid?: number;
  readonly oid: number;
  /** 'K': only the key columns are set (the key changed); 'O': the full old row (REPLICA IDENTITY FULL). */
  readonly before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes } | null;
  readonly after: TupleBytes;
}

export interface DeleteMessage {
  readonly tag: 'delete';
  readonly xid?: number;
  readonly oid: number;
  readonly before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes };
}

export interface TruncateMessage {
  readonly tag: 'truncate';
  readonly xid?: number;
  readonly oids: readonly number[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

export interface LogicalMessage {
  readonly tag: 'message';
  readonly xid?: number;
  readonly transactional: boolean;
  /** End of the message's WAL record. */
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: Buffer;
}

export interface StreamStartMessage {
  readonly tag: 'stream-start';
  readonly xid: number;
  readonly isFirst: boolean;
}

export interface StreamCommitMessage {
  readonly tag: 'stream-commit';
  readonly xid: number;
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly committedAtUs: bigint;
}

export interface StreamAbortMessage {
  readonly tag: 'stream-abort';
  readonly xid: number;
  /** Equals `xid` when the whole transaction is rolled back. */
  readonly subXid: number;
}
