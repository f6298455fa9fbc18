import { DuckDBInstance } from '@duckdb/node-api';
import { formatPosition, type PositionText } from '../../schemas/position.ts';

/** A table of a scripted history: columns with their DuckDB types, in order. */
export interface HistoryTable {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, string>>;
}

export type Row = Readonly<Record<string, string | null>>;

/** One line of `T__changes`; values as the text that DuckDB casts to the column's type. */
export interface PlainChange {
  readonly table: string;
  readonly op: 'c' | 'r' | 'u' | 'd' | 't';
  readonly seq: PositionText;
  readonly row: Row;
  readonly unchanged: readonly string[];
  readonly xid: number | null;
  readonly committedAt: Date | null;
  readonly capturedAt: Date;
}

export interface Transaction {
  insert(table: string, row: Row): void;
  /** `leftOut`: large columns that PostgreSQL would not send because they did not change. */
  update(table: string, row: Row, leftOut?: readonly string[]): void;
  remove(table: string, key: Row): void;
  /** A key change: delete of the old key and insert of the new row at one ordinal. */
  move(
    table: string,
    from: Row,
    to: { readonly row: Row; readonly leftOut?: readonly string[] },
  ): void;
  truncate(table: string): void;
}

/** Writes a history the way capture numbers it. */
export class History {
  readonly changes: PlainChange[] = [];
  #lsn = 0x1000n;
  #xid = 700;

  snapshot(readAt: Date, rows: readonly (readonly [table: string, row: Row])[]): void {
    this.#lsn += 0x100n;
    for (const [index, [table, row]] of rows.entries()) {
      this.changes.push({
        table,
        op: 'r',
        seq: this.#seq(index, 0),
        row,
        unchanged: [],
        xid: null,
        committedAt: null,
        capturedAt: readAt,
      });
    }
  }

  commit(committedAt: Date, work: (transaction: Transaction) => void): void {
    this.#lsn += 0x100n;
    this.#xid += 1;
    let ordinal = 0;
    const xid = this.#xid;
    const push = (change: Pick<PlainChange, 'table' | 'op' | 'row'>, given: Given = {}) => {
      const seq = this.#seq(ordinal, given.part ?? 0);
      const unchanged = given.leftOut ?? [];
      const capturedAt = new Date(committedAt.getTime() + 40);
      this.changes.push({ ...change, seq, unchanged, xid, committedAt, capturedAt });
    };
    const next = () => (ordinal += 1);
    work({
      insert: (table, row) => (next(), push({ table, op: 'c', row })),
      update: (table, row, leftOut = []) => (next(), push({ table, op: 'u', row }, { leftOut })),
      remove: (table, row) => (next(), push({ table, op: 'd', row })),
      move: (table, from, { row, leftOut = [] }) => {
        next();
        push({ table, op: 'd', row: from });
        push({ table, op: 'c', row }, { leftOut, part: 2 });
      },
      truncate: (table) => (next(), push({ table, op: 't', row: {} })),
    });
  }

  #seq(ordinal: number, part: 0 | 2): PositionText {
    return formatPosition({ generation: 1, commitLsn: this.#lsn, ordinal, part });
  }
}

interface Given {
  readonly part?: 2;
  readonly leftOut?: readonly string[];
}

export interface LakeContents {
  readonly tables: readonly HistoryTable[];
  readonly changes: readonly PlainChange[];
  /** Commit time of the newest watermark; everything in `changes` is below it. */
  readonly watermarkAt: Date;
}

/** Makes a lake file like the DuckDB sink's, or adds to one. */
export async function writeLake(
  path: string,
  { tables, changes, watermarkAt }: LakeContents,
): Promise<void> {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  try {
    await connection.run('create schema if not exists tributary');
    await connection.run(/* sql */ `create table if not exists tributary._tributary_watermarks
      (cut varchar, lsn varchar, committed_at timestamptz, applied_at timestamptz)`);
    for (const table of tables) {
      await connection.run(createChanges(table));
      const own = changes.filter((change) => change.table === table.name);
      for (let at = 0; at < own.length; at += 500) {
        await connection.run(insertChanges(table, own.slice(at, at + 500)));
      }
    }
    const cut = changes.at(-1)?.seq ?? '';
    await connection.run(/* sql */ `insert into tributary._tributary_watermarks
      values ('${cut}', '0/0', ${literal(watermarkAt.toISOString())}, now())`);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

function createChanges({ name, columns }: HistoryTable): string {
  const own = Object.entries(columns).map(([column, type]) => `"${column}" ${type},`);
  return /* sql */ `create schema if not exists public;
    create table if not exists public."${name}__changes" (${own.join(' ')}
    _cdc_op varchar, _cdc_seq varchar, _cdc_lsn varchar, _cdc_xid bigint, _cdc_committed_at timestamptz,
    _cdc_captured_at timestamptz, _cdc_loaded_at timestamptz, _cdc_topic varchar, _cdc_partition integer,
    _cdc_offset bigint, _cdc_schema_id integer, _cdc_unchanged varchar[], _cdc_exact varchar,
    _cdc_batch_id varchar)`;
}

function insertChanges({ name, columns }: HistoryTable, changes: readonly PlainChange[]): string {
  const rows = changes.map((change) => {
    const own = Object.entries(columns).map(([column, type]) => {
      const value = change.unchanged.includes(column) ? null : (change.row[column] ?? null);
      return `cast(${literal(value)} as ${type}), `;
    });
    const unchanged = change.unchanged.map(literal).join(', ');
    const committed =
      change.committedAt === null
        ? 'null'
        : `timestamptz ${literal(change.committedAt.toISOString())}`;
    const captured = `timestamptz ${literal(change.capturedAt.toISOString())}`;
    return `(${own.join('')}'${change.op}', '${change.seq}', '0/1', ${change.xid ?? 'null'}, ${committed},
      ${captured}, now(), 'app.public.${name}', 0, 0, 1, ${unchanged === '' ? 'null' : `[${unchanged}]`}, null, 'b')`;
  });
  return `insert into public."${name}__changes" values ${rows.join(',\n')}`;
}

const literal = (text: string | null) =>
  text === null ? 'null' : `'${text.replaceAll("'", "''")}'`;

/** Rows of a query as objects of texts; opened read-only and closed again. */
export async function readLakeRows(
  path: string,
  sql: string,
): Promise<readonly Record<string, string | null>[]> {
  const instance = await DuckDBInstance.create(path, { access_mode: 'READ_ONLY' });
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    const names = reader.columnNames();
    return reader
      .getRows()
      .map((row) =>
        Object.fromEntries(
          row.map((value, at) => [names[at] ?? '', value === null ? null : String(value)]),
        ),
      );
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
