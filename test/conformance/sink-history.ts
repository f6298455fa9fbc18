import fc from 'fast-check';
import type { Change, RowImage, Value } from '../../schemas/change.ts';
import { cutAfter, formatPosition, type Part, type PositionText } from '../../schemas/position.ts';
import type { ColumnSchema, LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { columnsIdentity, rowIdentity } from '../../schemas/value-identity.ts';

/** What happens to the source, in a form that fast-check can shrink. */
export interface Command {
  readonly table: 'items' | 'pairs' | 'audit';
  readonly what: 'insert' | 'update' | 'move' | 'delete' | 'truncate' | 'add-column';
  /** Picks a row, and new values. */
  readonly pick: number;
  readonly value: number;
  /** Leaves the TOASTed columns of an update alone. */
  readonly keepsToast: boolean;
  readonly endsTransaction: boolean;
}

const columns = (...specs: readonly (readonly [string, LogicalType, string, string?])[]) =>
  specs.map(([name, type, pgType, missingValue]): ColumnSchema => ({
    name,
    type,
    pgType,
    nullable: true,
    ...(missingValue === undefined ? {} : { missingValue }),
  }));

interface VersionSpec {
  readonly name: string;
  readonly id: number;
  readonly key: readonly string[];
  readonly columns: readonly ColumnSchema[];
}

/** Table versions for tests. `from` is set to where the version begins. */
export function tableVersion(spec: VersionSpec, from: PositionText): TableVersion {
  return {
    topic: `app.public.${spec.name}`,
    valueSchemaId: spec.id,
    keySchemaId: spec.key.length === 0 ? null : spec.id + 1000,
    from,
    table: {
      // A table keeps its oid through its versions: 1 and 11 are one table.
      oid: 16_000 + (spec.id % 10),
      schema: 'public',
      name: spec.name,
      columns: spec.columns,
      key: spec.key,
      replicaIdentity: spec.key.length === 0 ? 'full' : 'default',
    },
  };
}

const itemColumns = columns(
  ['id', { kind: 'int8' }, 'bigint'],
  ['name', { kind: 'text' }, 'text'],
  ['body', { kind: 'text' }, 'text'],
  ['count', { kind: 'int4' }, 'integer'],
);
const addedColumn = columns(['added', { kind: 'int4' }, 'integer', '7']);

const specs = {
  items: { name: 'items', id: 1, key: ['id'], columns: itemColumns },
  pairs: {
    name: 'pairs',
    id: 2,
    // Key order differs from column order, as a primary key (b, a) has it.
    key: ['label', 'number'],
    columns: columns(
      ['number', { kind: 'int4' }, 'integer'],
      ['payload', { kind: 'jsonb' }, 'jsonb'],
      ['label', { kind: 'text' }, 'text'],
    ),
  },
  audit: {
    name: 'audit',
    id: 3,
    key: [],
    columns: columns(['at', { kind: 'int8' }, 'bigint'], ['what', { kind: 'text' }, 'text']),
  },
} as const;
/** Columns whose values are stored out of line, by table. */
const toasted = { items: [2], pairs: [1], audit: [] } as const;

interface SourceTable {
  version: TableVersion;
  readonly toasted: readonly number[];
  rows: RowImage[];
}

/** The rows of each table right after one transaction. */
export interface HistoryCut {
  readonly cut: PositionText;
  readonly lsn: bigint;
  readonly versions: readonly TableVersion[];
  readonly rows: ReadonlyMap<string, readonly RowImage[]>;
}

export interface History {
  readonly changes: readonly Change[];
  /** One a transaction, in order. */
  readonly cuts: readonly HistoryCut[];
}

const partitions = 3;

/** A source database in miniature: carries commands out and writes the changes that capture would. */
class Source {
  readonly changes: Change[] = [];
  readonly cuts: HistoryCut[] = [];
  readonly #offsets = new Map<string, number>();
  #commitLsn = 0x1000n;
  #ordinal = 0;
  #tables = {
    items: this.#table('items'),
    pairs: this.#table('pairs'),
    audit: this.#table('audit'),
  };

  #table(name: Command['table']): SourceTable {
    const version = tableVersion(specs[name], formatPosition(this.#position(0)));
    return { version, toasted: toasted[name], rows: [] };
  }

  #position(part: Part) {
    return { generation: 1, commitLsn: this.#commitLsn, ordinal: this.#ordinal, part };
  }

  run(command: Command): void {
    const table = this.#tables[command.table];
    const row = table.rows[command.pick % Math.max(1, table.rows.length)];
    if (command.what === 'add-column') this.#addColumn(table, command);
    else if (command.what === 'insert') this.#insert(table, command);
    else if (command.what === 'truncate') this.#truncate(table);
    else if (row !== undefined && command.what === 'delete') this.#delete(table, row);
    else if (row !== undefined) this.#update(table, row, command);
    if (command.endsTransaction) this.commit();
  }

  commit(): void {
    const tables = Object.values(this.#tables);
    this.cuts.push({
      cut: cutAfter(1, this.#commitLsn),
      lsn: this.#commitLsn + 8n,
      versions: tables.map((table) => table.version),
      rows: new Map(tables.map((table) => [table.version.table.name, [...table.rows]])),
    });
    this.#commitLsn += 0x100n;
    this.#ordinal = 0;
  }

  #origin(table: SourceTable, part: Part, placedBy: string) {
    const { version } = table;
    // Any partition will do as long as one key keeps to one.
    const partition = Buffer.from(placedBy).reduce((sum, byte) => sum + byte, 0) % partitions;
    const place = `${version.topic}/${partition}`;
    const offset = this.#offsets.get(place) ?? 0;
    this.#offsets.set(place, offset + 1);
    return {
      seq: formatPosition(this.#position(part)),
      lsn: this.#commitLsn - 64n + BigInt(this.#ordinal),
      xid: this.#commitLsn / 0x100n,
      committedAtUs: 1_700_000_000_000_000n + this.#commitLsn,
      capturedAtUs: 1_700_000_000_500_000n + this.#commitLsn,
      topic: version.topic,
      partition,
      offset,
      version,
    };
  }

  #insert(table: SourceTable, command: Command): void {
    const row = newRow(table, command);
    if (this.#isTaken(table, row)) return;
    this.#ordinal += 1;
    table.rows.push(row);
    const origin = this.#origin(table, 0, keyOf(table, row));
    this.changes.push({ ...origin, op: 'c', after: row, before: null, unchanged: [] });
  }

  #delete(table: SourceTable, row: RowImage): void {
    this.#ordinal += 1;
    table.rows.splice(table.rows.indexOf(row), 1);
    this.#writeDelete(table, row);
  }

  #writeDelete(table: SourceTable, row: RowImage): void {
    const { key, columns: all } = table.version.table;
    const isSent = (index: number) => key.length === 0 || key.includes(all[index]?.name ?? '');
    const before = row.map((value, index) => (isSent(index) ? value : null));
    this.changes.push({ ...this.#origin(table, 0, keyOf(table, row)), op: 'd', before });
  }

  #update(table: SourceTable, row: RowImage, command: Command): void {
    const key = keyIndicesOf(table);
    const fresh = newRow(table, command);
    const moves = command.what === 'move' && key.length > 0;
    const updated = row.map((value, index): Value => {
      if (key.includes(index)) return moves ? (fresh[index] ?? null) : value;
      return command.keepsToast && table.toasted.includes(index) ? value : (fresh[index] ?? null);
    });
    if (moves && this.#isTaken(table, updated)) return;
    this.#ordinal += 1;
    table.rows[table.rows.indexOf(row)] = updated;
    if (moves) this.#writeDelete(table, row);
    const unchanged = command.keepsToast ? table.toasted : [];
    const origin = this.#origin(table, moves ? 2 : 0, keyOf(table, updated));
    const after = updated.map((value, index) => (unchanged.includes(index) ? null : value));
    const before = key.length === 0 ? row : null;
    this.changes.push({ ...origin, op: moves ? 'c' : 'u', after, before, unchanged });
  }

  #truncate(table: SourceTable): void {
    this.#ordinal += 1;
    table.rows = [];
    this.changes.push({ ...this.#origin(table, 0, ''), op: 't' });
  }

  /** Only once, on `items`; rows that exist read the constant default. */
  #addColumn(table: SourceTable, command: Command): void {
    if (table !== this.#tables.items || table.version.valueSchemaId !== 1) return;
    const spec = { ...specs.items, id: 11, columns: [...itemColumns, ...addedColumn] };
    const from = formatPosition({ ...this.#position(0), ordinal: this.#ordinal + 1 });
    table.version = tableVersion(spec, from);
    table.rows = table.rows.map((row) => [...row, 7]);
    // Capture learns of it from the Relation message before the next change: here that change is.
    const [row] = table.rows;
    if (row !== undefined) this.#update(table, row, { ...command, what: 'update' });
  }

  #isTaken(table: SourceTable, row: RowImage): boolean {
    const wanted = keyOf(table, row);
    return keyIndicesOf(table).length > 0 && table.rows.some((one) => keyOf(table, one) === wanted);
  }
}

function keyIndicesOf(table: SourceTable): readonly number[] {
  const { key, columns: all } = table.version.table;
  return key.map((name) => all.findIndex((column) => column.name === name));
}

function keyOf(table: SourceTable, row: RowImage): string {
  return String(columnsIdentity(row, keyIndicesOf(table)));
}

function newRow(table: SourceTable, { pick, value }: Command): RowImage {
  switch (table.version.table.name) {
    case 'items': {
      const row = [BigInt(pick % 5), `name ${value}`, `body ${value} `.repeat(3), value];
      return table.version.valueSchemaId === 1 ? row : [...row, value % 2 === 0 ? null : value];
    }
    case 'pairs':
      return [pick % 3, `{"n":${value}}`, pick % 2 === 0 ? 'left' : 'ri:ght'];
    default:
      return [BigInt(pick % 3), value % 2 === 0 ? 'same' : 'other'];
  }
}

/** Carries the commands out; the last transaction is committed at the end. */
export function runHistory(commands: readonly Command[]): History {
  const source = new Source();
  for (const command of commands) source.run(command);
  source.commit();
  return { changes: source.changes, cuts: source.cuts };
}

/** Random histories, of so many commands. */
export function commandsArbitrary(sizeMax: number, sizeMin = 1): fc.Arbitrary<Command[]> {
  const command = fc.record<Command>({
    table: fc.constantFrom('items', 'items', 'pairs', 'audit'),
    what: fc.oneof(
      { weight: 30, arbitrary: fc.constant('insert' as const) },
      { weight: 30, arbitrary: fc.constant('update' as const) },
      { weight: 15, arbitrary: fc.constant('move' as const) },
      { weight: 15, arbitrary: fc.constant('delete' as const) },
      { weight: 3, arbitrary: fc.constant('truncate' as const) },
      { weight: 4, arbitrary: fc.constant('add-column' as const) },
    ),
    pick: fc.nat(30),
    value: fc.nat(99),
    keepsToast: fc.boolean(),
    endsTransaction: fc.boolean(),
  });
  return fc.array(command, { minLength: sizeMin, maxLength: sizeMax });
}

/** Rows as a sorted list of identities, so that two states compare whatever their order. */
export function sortedIdentities(rows: readonly RowImage[]): readonly string[] {
  return rows.map(rowIdentity).toSorted();
}
