import type { CatalogColumn, CatalogTable } from '../schemas/catalog.ts';
import { pickColumn } from './discover-columns.ts';
import type { MappedTable } from './mapping.ts';

type Reference = MappedTable['references'][number];
type Role = NonNullable<MappedTable['actor']>;

const actorNames = [
  'user_id',
  'author_id',
  'sender_id',
  'actor_id',
  'principal',
  'owner_id',
  'created_by',
];

interface Around {
  readonly tables: readonly CatalogTable[];
  readonly master: CatalogTable | null;
  readonly users: CatalogTable | null;
}

interface References {
  readonly references: Reference[];
  readonly parent: Role | null;
  readonly actor: Role | null;
}

/** Declared foreign keys, names that look like one, who acted, and the row a table without a master hangs on. */
export function referencesOf(table: CatalogTable, around: Around): References {
  const declared = table.foreignKeys.flatMap((key): Reference[] => {
    const [column, target] = [key.columns[0], key.targetColumns[0]];
    if (key.columns.length !== 1 || column === undefined || target === undefined) return [];
    return [
      {
        column,
        table: `${key.targetSchema}.${key.targetTable}`,
        targetColumn: target,
        typeColumn: null,
        declared: true,
      },
    ];
  });
  const taken = new Set(declared.map((reference) => reference.column));
  const soft = table.columns
    .filter((column) => !taken.has(column.name))
    .flatMap((column) => softReference(table, column, around));
  const actor = actorOf(table, around);
  const references = [...declared, ...soft].filter(
    (reference) => !isMasterColumn(reference, around),
  );
  return { references, actor, parent: parentOf(declared, around) };
}

/** `entity_id` with `entity_type`, or a name that is a known table's key: `order_id` → an order table. */
function softReference(table: CatalogTable, column: CatalogColumn, around: Around): Reference[] {
  if (column.name === 'entity_id' && pickColumn(table, ['entity_type']) !== undefined) {
    return [
      {
        column: column.name,
        table: null,
        targetColumn: null,
        typeColumn: 'entity_type',
        declared: false,
      },
    ];
  }
  if (
    around.master !== null &&
    /(^|_)master_id$/.test(column.name) &&
    column.name !== 'master_id'
  ) {
    const target = around.master.primaryKey[0];
    return target === undefined ? [] : soft(column, around.master, target);
  }
  if (around.users !== null && actorNames.includes(column.name) && table !== around.users) {
    return soft(column, around.users, actorTarget(column, around.users));
  }
  const stem = /^(.+)_id$/.exec(column.name)?.[1];
  if (stem === undefined || stem === 'master') return [];
  const named = around.tables.filter(
    (candidate) =>
      candidate !== table &&
      candidate.primaryKey.length === 1 &&
      new RegExp(`(^|_)${escape(stem)}s?(_main|_master)?$`).test(candidate.name),
  );
  // A guess only when there is nothing to choose between.
  const [only, ...others] = named;
  return only === undefined || others.length > 0
    ? []
    : soft(column, only, only.primaryKey[0] ?? 'id');
}

const escape = (text: string) => text.replaceAll(/[^a-z0-9_]/gi, '.');

/** None where no value of the one column can be one of the other's. */
function soft(column: CatalogColumn, target: CatalogTable, targetColumn: string): Reference[] {
  if (!mayLead(column, target, targetColumn)) return [];
  return [
    { column: column.name, table: nameOf(target), targetColumn, typeColumn: null, declared: false },
  ];
}

/** A text may hold a number or a uuid; a number is never a uuid. */
function mayLead(column: CatalogColumn, target: CatalogTable, targetColumn: string): boolean {
  const [from, to] = [column, pickColumn(target, [targetColumn])].map(keyFamily);
  return from === null || to === null || from === to;
}

function keyFamily(column: CatalogColumn | undefined): 'number' | 'uuid' | null {
  const type = column?.pgType ?? '';
  if (type === 'uuid') return 'uuid';
  return /^(smallint|integer|bigint|numeric(\(.*\))?)$/.test(type) ? 'number' : null;
}

/** A principal is a name, everything else the key of the user. */
function actorTarget(column: CatalogColumn, users: CatalogTable): string {
  const byName =
    column.name === 'principal'
      ? pickColumn(users, ['username', 'login', 'email'])?.name
      : undefined;
  return byName ?? users.primaryKey[0] ?? 'id';
}

/** Who acted: a declared key to the users, else a column named so; where that has a key of its own, its table. */
function actorOf(table: CatalogTable, { users, tables }: Around): Role | null {
  if (users === null || table === users) return null;
  const keys = table.foreignKeys.filter((key) => key.columns.length === 1);
  const declared = keys.find((key) => targetOf(key) === nameOf(users));
  if (declared !== undefined) return roleOf(declared);
  const named = actorNames.flatMap((name) => pickColumn(table, [name]) ?? []);
  for (const column of named) {
    const key = keys.find(({ columns: [only] }) => only === column.name);
    if (key === undefined) {
      const targetColumn = actorTarget(column, users);
      if (!mayLead(column, users, targetColumn)) continue;
      return { column: column.name, table: nameOf(users), targetColumn };
    }
    // The key is the truth: the actors of an audit of administrators are not among the users.
    if (tables.some((target) => nameOf(target) === targetOf(key))) return roleOf(key);
  }
  return null;
}

type ForeignKey = CatalogTable['foreignKeys'][number];

const nameOf = ({ schema, name }: CatalogTable) => `${schema}.${name}`;
const targetOf = (key: ForeignKey) => `${key.targetSchema}.${key.targetTable}`;
const roleOf = (key: ForeignKey): Role => ({
  column: key.columns[0] ?? '',
  table: targetOf(key),
  targetColumn: key.targetColumns[0] ?? 'id',
});

/** The first declared key to a table that has a master, itself or through its own parent. */
function parentOf(declared: readonly Reference[], around: Around): Role | null {
  for (const reference of declared) {
    const target = around.tables.find(
      (table) => `${table.schema}.${table.name}` === reference.table,
    );
    if (target === undefined || reference.table === null || reference.targetColumn === null)
      continue;
    if (
      target === around.master ||
      pickColumn(target, ['master_id', 'master_uuid']) !== undefined
    ) {
      return {
        column: reference.column,
        table: reference.table,
        targetColumn: reference.targetColumn,
      };
    }
  }
  return null;
}

function isMasterColumn(reference: Reference, { master }: Around): boolean {
  return (
    master !== null &&
    reference.table === `${master.schema}.${master.name}` &&
    /^master_(id|uuid)$/.test(reference.column)
  );
}
