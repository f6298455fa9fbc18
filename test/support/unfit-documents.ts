import type { Change, RowImage, Value } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import { columnsIdentity, type Identity } from '../../schemas/value-identity.ts';
import type { History } from '../conformance/sink-history.ts';

/** A column of each table of a history that holds documents instead. */
const documentColumns: Readonly<Record<string, number>> = { items: 2, pairs: 1, audit: 1 };
/** BigQuery would round it. */
const unfitDocument = '[100000000000000000001]';

/** Whether a value of `withDocuments` is none that JSON holds. */
export const isUnfit = (value: Value): boolean => value === unfitDocument;

/** The same history with documents in it, of which about one in three is unfit for BigQuery's JSON. */
export function withDocuments(history: History): History {
  const versions = new Map<TableVersion, TableVersion>();
  const versionOf = (version: TableVersion): TableVersion => {
    const known = versions.get(version);
    if (known !== undefined) return known;
    const { table } = version;
    const columns = table.columns.map((column, index) =>
      index === documentColumns[table.name]
        ? { ...column, type: { kind: 'jsonb' as const }, pgType: 'jsonb' }
        : column,
    );
    const made = { ...version, table: { ...table, columns } };
    versions.set(version, made);
    return made;
  };
  const imageOf = (name: string, image: RowImage): RowImage =>
    image.map((value, index) =>
      index === documentColumns[name] && typeof value === 'string' ? documentOf(value) : value,
    );
  const changeOf = (change: Change): Change => {
    const { name } = change.version.table;
    const version = versionOf(change.version);
    if (change.op === 't') return { ...change, version };
    if (change.op === 'd') return { ...change, version, before: imageOf(name, change.before) };
    const before = change.before === null ? null : imageOf(name, change.before);
    return { ...change, version, before, after: imageOf(name, change.after) };
  };
  return {
    changes: history.changes.map(changeOf),
    cuts: history.cuts.map((cut) => ({
      ...cut,
      versions: cut.versions.map(versionOf),
      rows: new Map(
        [...cut.rows].map(([name, rows]) => [name, rows.map((row) => imageOf(name, row))]),
      ),
    })),
  };
}

/** The document that stands for a text in such a history. */
export function documentOf(text: string): string {
  const sum = Buffer.from(text).reduce((total, byte) => total + byte, 0);
  if (sum % 3 === 0) return unfitDocument;
  return `{"n": ${sum % 3 === 1 ? '1.50' : '15'}, "text": ${JSON.stringify(text)}}`;
}

/** What a row is, and since when. */
export interface SourceRow {
  readonly key: Identity;
  readonly seq: PositionText;
  /** Null: it is gone. */
  readonly image: RowImage | null;
}

/** Every row of a table with a key after every change of it, in their order. */
export function* sourceRows(history: History, topic: string): Generator<SourceRow> {
  const rows = new Map<Identity, RowImage>();
  let left: { readonly change: string; readonly image: RowImage | undefined } | null = null;
  for (const change of history.changes) {
    if (change.topic !== topic) continue;
    const { seq, version } = change;
    const indices = version.table.key.map((name) =>
      version.table.columns.findIndex((column) => column.name === name),
    );
    if (change.op === 't') {
      for (const key of rows.keys()) yield { key, seq, image: null };
      rows.clear();
    } else if (change.op === 'd') {
      const key = columnsIdentity(change.before, indices);
      left = { change: seq.slice(0, -1), image: rows.get(key) };
      rows.delete(key);
      yield { key, seq, image: null };
    } else {
      const key = columnsIdentity(change.after, indices);
      const old = left?.change === seq.slice(0, -1) ? left.image : rows.get(key);
      const { unchanged } = change;
      const image = change.after.map((value, index) =>
        unchanged.includes(index) ? (old?.[index] ?? null) : value,
      );
      rows.set(key, image);
      yield { key, seq, image };
    }
  }
}
