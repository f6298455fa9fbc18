import type { ErrorKind } from '../../runtime/errors.ts';
import type { PartitionEnd, TopicSpec } from '../log.ts';

/** What the writer thread is started with. */
export interface WriterOptions {
  readonly path: string;
  readonly retention: Retention | null;
}

/** Batches are dropped from a partition's start while they are older, or the log larger, than this. */
export interface Retention {
  /** By the records' own timestamps. */
  readonly ageMs?: number;
  /** Over all topics that are not compacted. */
  readonly bytes?: number;
}

/** Encoded records of one partition, in order. */
export interface EncodedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly recordCount: number;
  /** Newest timestamp of the records. */
  readonly timestampMs: number;
  readonly bytes: Uint8Array;
}

export type WriterRequest =
  | { readonly kind: 'append'; readonly id: number; readonly batches: readonly EncodedBatch[] }
  | { readonly kind: 'create-topics'; readonly id: number; readonly specs: readonly TopicSpec[] }
  | { readonly kind: 'close' };

export type WriterReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly id: number; readonly ends: readonly PartitionEnd[] }
  | {
      readonly kind: 'failed';
      /** Null when the log could not be opened. */
      readonly id: number | null;
      readonly error: PlainError;
      /** True: no append will be accepted any more. */
      readonly poisons: boolean;
    };

/** An error as it crosses threads; `kind` is null for a defect of our own. */
export interface PlainError {
  readonly kind: ErrorKind | null;
  readonly message: string;
  readonly hint: string;
  readonly context: Readonly<Record<string, unknown>>;
}
