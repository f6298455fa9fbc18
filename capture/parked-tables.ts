import type { PositionText } from '../schemas/position.ts';
import { tableName, type TableSchema } from '../schemas/table-schema.ts';

/** Durable with the progress record. */
export type ParkedState = Readonly<Record<string, ParkedNote>>;

export interface ParkedNote {
  /** The first position whose change is not on the log. */
  readonly since: PositionText;
  /** What the registry said of the schema. */
  readonly reason: string;
}

interface ParkedTable extends ParkedNote {
  /** Its newest version in the stream of this connection; null before the stream named it. */
  readonly streamed: TableSchema | null;
  /** The snapshot was asked to read it again, from a fence on; null while that is not so. */
  readonly reopening: { readonly isStale: boolean } | null;
}

/**
 * Tables that are held back because the registry does not take their schema. Their changes are dropped
 * from `since` on; when the schema is taken, a fence ends that: there the log gets a truncate record, and
 * after it every row as the snapshot reads it.
 */
export class ParkedTables {
  readonly #tables = new Map<string, ParkedTable>();

  constructor(state: ParkedState = {}) {
    for (const [name, note] of Object.entries(state)) {
      this.#tables.set(name, { ...note, streamed: null, reopening: null });
    }
  }

  get size(): number {
    return this.#tables.size;
  }

  has(table: { readonly schema: string; readonly name: string }): boolean {
    return this.#tables.has(tableName(table));
  }

  /** Those that nothing was done about yet. */
  get waiting(): readonly string[] {
    return [...this.#tables].flatMap(([name, table]) => (table.reopening === null ? [name] : []));
  }

  state(): ParkedState {
    const notes = [...this.#tables].map(
      ([name, { since, reason }]) => [name, { since, reason }] as const,
    );
    return Object.fromEntries(notes);
  }

  park(table: TableSchema, note: ParkedNote): void {
    this.#tables.set(tableName(table), { ...note, streamed: table, reopening: null });
  }

  /** The stream brought another version of the table: what the snapshot was asked for may be outdated. */
  streamed(table: TableSchema): void {
    this.#update(tableName(table), ({ reopening }) => ({
      streamed: table,
      reopening: reopening === null ? null : { isStale: true },
    }));
  }

  /** Before the catalog is asked for the version that the snapshot will read. */
  reopen(name: string): void {
    this.#update(name, () => ({ reopening: { isStale: false } }));
  }

  /** It stays held back. */
  refused(name: string, reason: string | null): void {
    this.#update(name, (table) => ({ reopening: null, reason: reason ?? table.reason }));
  }

  /**
   * The fence came: whether the table may be read as of this version. Not when the stream has brought
   * a version since that it may be older than.
   */
  mayReopen(table: TableSchema): boolean {
    const parked = this.#tables.get(tableName(table));
    return (
      parked?.reopening !== null &&
      (parked?.reopening.isStale !== true || isStreamed(parked, table))
    );
  }

  /** Lets the table go on. True: the stream's newest version is this one, so its next change needs no Relation message before. */
  release(table: TableSchema): boolean {
    const parked = this.#tables.get(tableName(table));
    this.#tables.delete(tableName(table));
    return parked !== undefined && isStreamed(parked, table);
  }

  /** The table is gone from source or publication. */
  forget(name: string): void {
    this.#tables.delete(name);
  }

  #update(name: string, change: (table: ParkedTable) => Partial<ParkedTable>): void {
    const table = this.#tables.get(name);
    if (table !== undefined) this.#tables.set(name, { ...table, ...change(table) });
  }
}

function isStreamed({ streamed }: ParkedTable, table: TableSchema): boolean {
  return streamed !== null && JSON.stringify(streamed) === JSON.stringify(table);
}
