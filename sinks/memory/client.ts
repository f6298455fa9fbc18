import type { Change, DeadLetter, RowImage, Value } from '../../schemas/change.ts';
import type { Watermark } from '../../schemas/control.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import type { Checkpoint } from '../sink.ts';

/** Values by column name: columns come and go, names stay. */
export type NamedValues = Readonly<Record<string, Value>>;

export interface StateRow {
  readonly values: NamedValues;
  readonly seq: PositionText;
  readonly committedAtUs: bigint | null;
  readonly deleted: boolean;
}

export interface AppendedChange {
  readonly change: Change;
  readonly values: NamedValues;
  readonly batchId: string;
}

/** What the three relations of one source table hold. */
export interface MemoryTable {
  version: TableVersion;
  changes: AppendedChange[];
  /** By key identity; empty for a table without a key. */
  state: Map<string, StateRow>;
  /** Rows of a table without a key. */
  bag: StateRow[];
}

/** One consistent content of the lake. */
export interface MemoryContent {
  checkpoint: Checkpoint | null;
  tables: Map<string, MemoryTable>;
  watermarks: Watermark[];
  deadLetters: DeadLetter[];
}

/** A set of tables with a checkpoint and an owner of its own. */
export interface MemoryShare {
  /** The newest owner. */
  epoch: number;
  content: MemoryContent;
}

/**
 * The lake of the memory sink, outside of any sink so that it survives one: what a file or a warehouse
 * is to the others. `content` is what readers see; a sink replaces it whole when a cut is published.
 */
export class MemoryLake {
  /** Into how many shares its tables are divided; for ever, once it is opened. */
  shareCount: number | null = null;
  readonly #shares = new Map<number, MemoryShare>();

  /** One share of the lake; a lake that is not divided has the one. */
  share(share: number): MemoryShare {
    const known = this.#shares.get(share);
    if (known !== undefined) return known;
    const content = { checkpoint: null, tables: new Map(), watermarks: [], deadLetters: [] };
    const made: MemoryShare = { epoch: 0, content };
    this.#shares.set(share, made);
    return made;
  }

  get content(): MemoryContent {
    return this.share(0).content;
  }

  /** All tables by name, whatever share they belong to. */
  get tables(): ReadonlyMap<string, MemoryTable> {
    return new Map([...this.#shares.values()].flatMap(({ content }) => [...content.tables]));
  }

  /** Live rows of a table (view `T`) in its column order; none for an unknown table. */
  rows(version: Pick<TableVersion, 'table'>): readonly (StateRow & { readonly image: RowImage })[] {
    const table = this.tables.get(`${version.table.schema}.${version.table.name}`);
    if (table === undefined) return [];
    const rows = version.table.key.length === 0 ? table.bag : [...table.state.values()];
    return rows
      .filter((row) => !row.deleted)
      .map((row) => ({
        ...row,
        image: version.table.columns.map((column) => row.values[column.name] ?? null),
      }));
  }
}

/** A content that can be changed without the other noticing; rows themselves are never changed. */
export function copyContent(content: MemoryContent): MemoryContent {
  const tables = new Map<string, MemoryTable>();
  for (const [name, table] of content.tables) {
    tables.set(name, {
      version: table.version,
      changes: [...table.changes],
      state: new Map(table.state),
      bag: [...table.bag],
    });
  }
  const { checkpoint, watermarks, deadLetters } = content;
  return { checkpoint, tables, watermarks: [...watermarks], deadLetters: [...deadLetters] };
}
