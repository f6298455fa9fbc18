import { ExactText, type Change, type RowImage, type Value } from '../../schemas/change.ts';
import { canonicalValue } from '../../schemas/pg-text.ts';
import type { PositionText } from '../../schemas/position.ts';
import { tableName, type LogicalType, type TableSchema } from '../../schemas/table-schema.ts';

/** Column name → PostgreSQL's text of the value; null is NULL. */
export type ShownRow = Readonly<Record<string, string | null>>;

/** A change as `tail` prints it. */
export interface ShownChange {
  readonly seq: PositionText;
  readonly op: Change['op'];
  readonly table: string;
  /** When the transaction committed; null for a row that was read, not committed. */
  readonly committedAt: string | null;
  readonly before: ShownRow | null;
  readonly after: ShownRow | null;
  /** Columns of an update whose large value was not sent because it did not change. */
  readonly unchanged: readonly string[];
}

/** Turns a change into texts. */
export function showChange(change: Change): ShownChange {
  const { seq, op, committedAtUs, version } = change;
  const { table } = version;
  const unchanged = 'unchanged' in change ? change.unchanged : [];
  return {
    seq,
    op,
    table: tableName(table),
    committedAt: committedAtUs === null ? null : isoTime(committedAtUs),
    before:
      'before' in change
        ? showRow(change.before, table, (index) => isKnownBefore(table, index))
        : null,
    after:
      'after' in change
        ? showRow(change.after, table, (index) => !unchanged.includes(index))
        : null,
    unchanged: unchanged.map((index) => table.columns[index]?.name ?? ''),
  };
}

/** An image before a change has the key alone, unless the table sends whole rows. */
function isKnownBefore(table: TableSchema, index: number): boolean {
  return table.replicaIdentity === 'full' || table.key.includes(table.columns[index]?.name ?? '');
}

function showRow(
  row: RowImage | null,
  table: TableSchema,
  isKnown: (index: number) => boolean,
): ShownRow | null {
  if (row === null) return null;
  const entries = table.columns.flatMap(({ name, type }, index) =>
    isKnown(index) ? [[name, showValue(type, row[index] ?? null)] as const] : [],
  );
  return Object.fromEntries(entries);
}

/** PostgreSQL's text; floats in decimal, arrays as JSON. */
function showValue(type: LogicalType, value: Value): string | null {
  if (value instanceof ExactText) return value.text;
  if (typeof value === 'number' && (type.kind === 'float4' || type.kind === 'float8'))
    return String(value);
  if (type.kind === 'array' && Array.isArray(value)) {
    return JSON.stringify((value as readonly Value[]).map((item) => showValue(type.element, item)));
  }
  return canonicalValue(type, value);
}

const isoTime = (microseconds: bigint): string =>
  new Date(Number(microseconds / 1000n)).toISOString();

/** "2026-01-02T03:04:05.678Z update id=5 status=paid"; values are cut after so many characters. */
export function renderChange(change: ShownChange, valueCharactersMax: number): string {
  const { op, after, before, committedAt, seq } = change;
  const parts = [
    committedAt ?? seq,
    operationNames[op],
    renderRow(after ?? before ?? {}, valueCharactersMax),
    ...change.unchanged.map((column) => `${column}=(unchanged)`),
    op === 'u' && before !== null ? `(was ${renderRow(before, valueCharactersMax)})` : '',
  ];
  return parts.filter((part) => part !== '').join(' ');
}

const operationNames = { c: 'insert', r: 'read', u: 'update', d: 'delete', t: 'truncate' } as const;

function renderRow(row: ShownRow, valueCharactersMax: number): string {
  return Object.entries(row)
    .map(([name, value]) => `${name}=${renderValue(value, valueCharactersMax)}`)
    .join(' ');
}

function renderValue(value: string | null, charactersMax: number): string {
  if (value === null) return 'NULL';
  const shown = value.length > charactersMax ? `${value.slice(0, charactersMax)}…` : value;
  return /^[^\s"=]+$/.test(shown) && shown !== 'NULL' ? shown : JSON.stringify(shown);
}
