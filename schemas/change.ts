import type { PositionText } from './position.ts';
import type { TableVersion } from './table-schema.ts';

/**
 * One value of a column as the sinks see it, decided by the column's LogicalType:
 * bool → boolean · int2, int4, float4, float8 → number · int8, oid → bigint ·
 * numeric → bigint (unscaled; the type has the scale) · numeric-free → string (PostgreSQL's text) ·
 * date → number (days since 1970-01-01) · time → bigint (µs of the day) ·
 * timestamp → bigint (µs since 1970-01-01 00:00 of the wall clock) · timestamptz → bigint (µs since the epoch) ·
 * bytea → Uint8Array · text, uuid, json, jsonb, enum, inet, named-text, restated, other → string ·
 * array → Value[] ·
 * SQL NULL → null · a value that the Avro type cannot hold → ExactText.
 */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | ExactText
  | readonly Value[];

/** PostgreSQL's exact text of a value beyond the column's normal range (numeric NaN, infinity, 2-D arrays ...). */
export class ExactText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Where a change comes from; everything that the `_cdc_` columns tell. */
interface ChangeOrigin {
  readonly seq: PositionText;
  readonly lsn: bigint;
  readonly xid: bigint | null;
  /** Microseconds since 1970, PostgreSQL's clock; null for rows of a snapshot. */
  readonly committedAtUs: bigint | null;
  /** Microseconds since 1970, capture's clock. */
  readonly capturedAtUs: bigint;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly version: TableVersion;
}

/** A row image: one value a column, in the order of `version.table.columns`. */
export type RowImage = readonly Value[];

/** c insert, r row of a snapshot, u update, d delete, t truncate. */
export type Change =
  | (ChangeOrigin & {
      readonly op: 'c' | 'r' | 'u';
      readonly after: RowImage;
      /** Full old row under REPLICA IDENTITY FULL, else null. */
      readonly before: RowImage | null;
      /** Indices of columns whose TOASTed value was not sent; `after` holds null there. */
      readonly unchanged: readonly number[];
    })
  | (ChangeOrigin & {
      readonly op: 'd';
      /** Key columns, and all others under REPLICA IDENTITY FULL; null elsewhere. */
      readonly before: RowImage;
    })
  | (ChangeOrigin & { readonly op: 't' });

/** A record that could not be decoded or applied: kept with its coordinates, so nothing is lost. */
export interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly seq: PositionText | null;
  readonly reason: string;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}
