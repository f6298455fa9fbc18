import type { Field } from './table-schema.ts';
import type { Row } from './value-rules.ts';

export interface TableRef {
  readonly projectId: string;
  readonly datasetId: string;
  readonly tableId: string;
}

/** A table as a writer sees it. */
export interface TableSchema {
  readonly fields: readonly Field[];
  /** Columns of the primary key, which is declared and not enforced. */
  readonly primaryKey: readonly string[];
  /** Rises with each change of the schema. */
  readonly schemaVersion: number;
}

/** A change by key, as `_CHANGE_TYPE` and `_CHANGE_SEQUENCE_NUMBER` say it. */
export interface KeyedChange {
  readonly type: 'UPSERT' | 'DELETE';
  readonly sequence?: string;
  readonly row: Row;
}

/**
 * What the Storage Write half of the fake needs of the store. Rows come from `checkRow`. Each call is
 * atomic, and is refused with a `ServiceError` (`notFound`, `invalid`).
 */
export interface StreamStore {
  /** The schema of a table or throws `notFound`. */
  tableSchema(ref: TableRef): TableSchema;
  /** Appends rows and marks them as recently streamed: no transaction may mutate them. */
  appendStreamed(ref: TableRef, rows: readonly Row[]): Promise<void>;
  /** Upserts and deletes by primary key, in the order of their sequence numbers. */
  applyChanges(ref: TableRef, changes: readonly KeyedChange[]): Promise<void>;
}

/**
 * Order of two change sequence numbers: 1 to 4 sections of at most 16 hexadecimal digits, compared one by one
 * as unsigned numbers. https://cloud.google.com/bigquery/docs/change-data-capture#manage_custom_ordering
 */
export function compareSequences(left: string, right: string): number {
  const [a, b] = [parseSequence(left), parseSequence(right)];
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const [x, y] = [a[index] ?? -1n, b[index] ?? -1n];
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

/** The sections of a change sequence number. Throws `RangeError` for another form. */
function parseSequence(text: string): bigint[] {
  if (!/^[0-9a-f]{1,16}(\/[0-9a-f]{1,16}){0,3}$/i.test(text)) {
    throw new RangeError(`_CHANGE_SEQUENCE_NUMBER ${text} is not of 1 to 4 hexadecimal sections`);
  }
  return text.split('/').map((section) => BigInt(`0x${section}`));
}
