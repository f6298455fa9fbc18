import type pg from 'pg';
import { assert } from '../../runtime/assert.ts';

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };
export type Row = Readonly<Record<string, Json>>;

export interface RowChange {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete' | 'truncate';
  /** The row before; null for an insert and a truncate. */
  readonly before: Row | null;
  /** The row after; null for a delete and a truncate. */
  readonly after: Row | null;
}

interface TableRule {
  readonly key: readonly string[];
  /** Foreign keys that delete with their parent: column → parent table and column. */
  readonly cascades: readonly {
    readonly column: string;
    readonly parent: string;
    readonly target: string;
  }[];
  readonly clears: readonly {
    readonly column: string;
    readonly parent: string;
    readonly target: string;
  }[];
}

const ofMaster = [{ column: 'master_id', parent: 'master', target: 'id' }];
const byId = (cascades: TableRule['cascades'] = ofMaster): TableRule => ({
  key: ['id'],
  cascades,
  clears: [],
});

/** What the record needs to know of business.sql: keys, and what a delete takes along. */
const rules: Readonly<Record<string, TableRule>> = {
  master: byId([]),
  service_user_master: byId(),
  service_campaign_main: byId(),
  service_content_main: byId([
    ...ofMaster,
    { column: 'author_id', parent: 'service_user_master', target: 'id' },
  ]),
  service_content_comment: byId([
    { column: 'content_id', parent: 'service_content_main', target: 'id' },
  ]),
  service_commerce_order: byId(),
  service_commerce_order_item: {
    key: ['order_id', 'line'],
    cascades: [{ column: 'order_id', parent: 'service_commerce_order', target: 'id' }],
    clears: [],
  },
  service_commerce_payment: byId([
    ...ofMaster,
    { column: 'order_id', parent: 'service_commerce_order', target: 'id' },
  ]),
  service_wallet_account: byId(),
  service_messaging_message: byId(),
  service_notification_main: byId(),
  service_referral_link: {
    key: ['code'],
    cascades: ofMaster,
    clears: [{ column: 'referred_master_id', parent: 'master', target: 'id' }],
  },
  service_session_cache: { key: ['token'], cascades: [], clears: [] },
  service_event: byId(),
  service_security_event: byId(),
  service_analytics_event: byId(),
  service_scheduler_job_run: byId(),
  service_campaign_broadcast_event: byId([]),
  service_activity_trace: { key: ['master_id', 'action', 'occurred_at'], cascades: [], clears: [] },
};

export const businessTables: readonly string[] = Object.keys(rules);

/**
 * The generator's own record of the business: every row as it stands and every change it made, with
 * which the lake and the models are compared. Nothing in it was read back from PostgreSQL.
 */
export class Book {
  readonly #rows = new Map<string, Map<string, Row>>(
    businessTables.map((table) => [table, new Map()]),
  );
  /** One entry a committed transaction, in commit order. */
  readonly transactions: (readonly RowChange[])[] = [];

  rows(table: string): readonly Row[] {
    return [...this.#table(table).values()];
  }

  count(table: string): number {
    return this.#table(table).size;
  }

  get changeCount(): number {
    return this.transactions.reduce((sum, changes) => sum + changes.length, 0);
  }

  /** Collects one transaction; nothing is recorded or sent before `commit`. */
  begin(): Work {
    return new Work(this);
  }

  enter(changes: readonly RowChange[]): void {
    for (const { table, op, before, after } of changes) {
      const rows = this.#table(table);
      if (op === 'truncate') rows.clear();
      if (before !== null)
        assert(rows.delete(keyText(table, before)), `${table}: the row was there`);
      if (after !== null) rows.set(keyText(table, after), after);
    }
    this.transactions.push(changes);
  }

  #table(table: string): Map<string, Row> {
    const rows = this.#rows.get(table);
    assert(rows, `${table} is a table of the business`);
    return rows;
  }
}

/** One transaction in the making: what to send and what it will have changed, cascades included. */
export class Work {
  readonly #book: Book;
  readonly #statements: { readonly sql: string; readonly values: readonly string[] }[] = [];
  readonly #changes: RowChange[] = [];

  constructor(book: Book) {
    this.#book = book;
  }

  insert(table: string, ...rows: readonly Row[]): this {
    const first = rows[0];
    if (first === undefined) return this;
    const columns = Object.keys(first).map(quote).join(', ');
    const sql = `insert into ${table} (${columns}) select ${columns} from jsonb_populate_recordset(null::${table}, $1)`;
    this.#statements.push({ sql, values: [JSON.stringify(rows)] });
    for (const after of rows) this.#changes.push({ table, op: 'insert', before: null, after });
    return this;
  }

  /** Also changes the key when the patch names a key column. */
  update(table: string, row: Row, patch: Row): this {
    const columns = Object.keys(patch).map(quote).join(', ');
    const sql = `update ${table} set (${columns}) = (select ${columns} from jsonb_populate_record(null::${table}, $1)) where ${matches(table, '$2')}`;
    this.#statements.push({ sql, values: [JSON.stringify(patch), JSON.stringify(row)] });
    this.#changes.push({ table, op: 'update', before: row, after: { ...row, ...patch } });
    return this;
  }

  delete(table: string, row: Row): this {
    this.#statements.push({
      sql: `delete from ${table} where ${matches(table, '$1')}`,
      values: [JSON.stringify(row)],
    });
    this.#remove(table, row);
    return this;
  }

  truncate(table: string): this {
    this.#statements.push({ sql: `truncate ${table}`, values: [] });
    this.#changes.push({ table, op: 'truncate', before: null, after: null });
    return this;
  }

  get size(): number {
    return this.#changes.length;
  }

  async commit(client: pg.ClientBase): Promise<void> {
    await this.#send(client, 'commit');
    this.#book.enter(this.#changes);
  }

  /** Does everything and takes it back: nothing of it may ever be seen. */
  async rollBack(client: pg.ClientBase): Promise<void> {
    await this.#send(client, 'rollback');
  }

  async #send(client: pg.ClientBase, end: 'commit' | 'rollback'): Promise<void> {
    await client.query('begin');
    for (const { sql, values } of this.#statements) await client.query(sql, [...values]);
    await client.query(end);
  }

  #remove(table: string, row: Row): void {
    const already = this.#changes.some((change) => change.before === row && change.after === null);
    if (already) return;
    this.#changes.push({ table, op: 'delete', before: row, after: null });
    for (const [child, rule] of Object.entries(rules)) {
      for (const { column, target } of rule.cascades.filter(({ parent }) => parent === table)) {
        for (const orphan of this.#book.rows(child)) {
          if (orphan[column] === row[target]) this.#remove(child, orphan);
        }
      }
    }
    this.#clearReferences(table, row);
  }

  #clearReferences(table: string, row: Row): void {
    for (const [child, rule] of Object.entries(rules)) {
      for (const { column, target } of rule.clears.filter(({ parent }) => parent === table)) {
        for (const before of this.#book.rows(child)) {
          const gone = this.#changes.some((change) => change.before === before);
          if (before[column] !== row[target] || gone) continue;
          this.#changes.push({
            table: child,
            op: 'update',
            before,
            after: { ...before, [column]: null },
          });
        }
      }
    }
  }
}

const quote = (column: string) => `"${column}"`;

function matches(table: string, parameter: string): string {
  const columns = (rules[table]?.key ?? []).map(quote);
  return columns
    .map((column) => `${column} = (jsonb_populate_record(null::${table}, ${parameter})).${column}`)
    .join(' and ');
}

function keyText(table: string, row: Row): string {
  return JSON.stringify((rules[table]?.key ?? []).map((column) => row[column] ?? null));
}
