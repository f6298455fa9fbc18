import type { Json, Row as BookRow, RowChange } from '../../commands/demo/book.ts';
import type { Mapping } from '../../models/mapping.ts';
import { formatPosition, type PositionText } from '../../schemas/position.ts';
import type { PlainChange, Row } from './lake-history.ts';

export interface BookRecord {
  readonly mapping: Mapping;
  /** Transactions whose rows a snapshot found: inserts only. */
  readonly before: readonly (readonly RowChange[])[];
  /** Transactions that were streamed, in commit order. */
  readonly streamed: readonly (readonly RowChange[])[];
  /** When the snapshot read, and the streamed transactions began. */
  readonly readAtMs: number;
}

/** The generator's own record as the list of changes that capture numbers. Positions and times are made up. */
export function changesOf(record: BookRecord): readonly PlainChange[] {
  const { before, streamed, readAtMs } = record;
  const found = before.flat().map((change, index): PlainChange => {
    if (change.op !== 'insert') throw new RangeError(`a history has inserts, not ${change.op}s`);
    return {
      table: change.table,
      op: 'r',
      seq: position(0, index, 0),
      row: textsOf(change.after ?? {}),
      unchanged: [],
      xid: null,
      committedAt: null,
      capturedAt: new Date(readAtMs),
    };
  });
  const written = streamed.flatMap((changes, index) =>
    changes.flatMap((change, ordinal) => {
      const committedAt = new Date(readAtMs + index + 1);
      const place = { xid: index + 1, committedAt, capturedAt: committedAt, unchanged: [] };
      return halvesOf(record.mapping, change).map(({ op, row, part }): PlainChange => ({
        ...place,
        table: change.table,
        op,
        row,
        seq: position(index + 1, ordinal + 1, part),
      }));
    }),
  );
  return [...found, ...written];
}

interface Half {
  readonly op: 'c' | 'u' | 'd' | 't';
  readonly row: Row;
  readonly part: 0 | 2;
}

/** A moved key is a delete and an insert at one place. */
function halvesOf(mapping: Mapping, { table, op, before, after }: RowChange): readonly Half[] {
  const key = mapping.tables[`public.${table}`]?.key ?? [];
  const [old, row] = [textsOf(before ?? {}), textsOf(after ?? {})];
  if (op === 'truncate') return [{ op: 't', row: {}, part: 0 }];
  if (op === 'insert') return [{ op: 'c', row, part: 0 }];
  if (op === 'delete') return [{ op: 'd', row: old, part: 0 }];
  if (key.every((column) => old[column] === row[column])) return [{ op: 'u', row, part: 0 }];
  return [
    { op: 'd', row: old, part: 0 },
    { op: 'c', row, part: 2 },
  ];
}

const position = (transaction: number, ordinal: number, part: 0 | 2): PositionText =>
  formatPosition({ generation: 1, commitLsn: BigInt(transaction + 1) * 4096n, ordinal, part });

function textsOf(row: BookRow): Row {
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, textOf(value)]));
}

/** JSON as PostgreSQL prints a jsonb: keys by length, then by bytes, with spaces between. */
function textOf(value: Json): string | null {
  if (value === null) return null;
  return typeof value === 'object' ? jsonbText(value) : String(value);
}

function jsonbText(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(jsonbText).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).toSorted(
    ([a], [b]) => a.length - b.length || (a < b ? -1 : 1),
  );
  return `{${members.map(([name, inner]) => `${JSON.stringify(name)}: ${jsonbText(inner)}`).join(', ')}}`;
}
