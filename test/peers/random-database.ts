import { createRandom, type Random } from '../../commands/demo/random.ts';

/** Statements that make random tables, and the traffic on them: the same seed gives the same ones. */
export interface RandomDatabase {
  readonly setup: string;
  /** Each a transaction of its own. */
  readonly traffic: readonly string[];
}

interface ColumnType {
  readonly sql: string;
  readonly literals: readonly string[];
}

/** Types that both sides hold exactly, with values at their edges. */
const columnTypes: readonly ColumnType[] = [
  { sql: 'boolean', literals: ['true', 'false'] },
  { sql: 'smallint', literals: ['-32768', '0', '32767'] },
  { sql: 'integer', literals: ['-2147483648', '7', '2147483647'] },
  { sql: 'bigint', literals: ["'-9223372036854775808'", '7', '9223372036854775807'] },
  { sql: 'real', literals: ['1.25', "'-0'", '3.4028235e38', "'NaN'", "'Infinity'"] },
  { sql: 'double precision', literals: ['0.1', "'-0'", '5e-324', "'-Infinity'", "'NaN'"] },
  { sql: 'numeric(10,2)', literals: ['0', '-99999999.99', '1.10', '12345678.91'] },
  { sql: 'numeric(30,12)', literals: ['0', '-1.000000000001', '123456789012345678.000000000001'] },
  { sql: 'numeric', literals: ['0', '-1.5', '12345678901234567890.123456789'] },
  { sql: 'text', literals: ["''", "'plain'", "'☃ 😀 é'", '\'tab\tnew\nline \\ "quoted"\''] },
  { sql: 'varchar(12)', literals: ["''", "'twelve chars'", "'é'"] },
  { sql: 'char(5)', literals: ["''", "'ab'", "'abcde'"] },
  {
    sql: 'uuid',
    literals: ["'00000000-0000-0000-0000-000000000000'", "'6f1d1a9e-2d9b-4d0f-9a43-0a1b2c3d4e5f'"],
  },
  { sql: 'date', literals: ["'1970-01-01'", "'1969-12-31'", "'2026-02-28'", "'9999-12-31'"] },
  { sql: 'time', literals: ["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"] },
  { sql: 'time(3)', literals: ["'00:00:00'", "'12:34:56.789'"] },
  {
    sql: 'timestamp',
    literals: ["'1970-01-01'", "'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59'"],
  },
  { sql: 'timestamp(3)', literals: ["'2026-02-28 12:34:56.789'", "'1969-12-31 23:59:59.999'"] },
  { sql: 'timestamptz', literals: ["'2026-02-28 12:34:56.789012+01'", "'0001-01-01 00:00:00+00'"] },
  {
    sql: 'timestamptz(3)',
    literals: ["'2026-02-28 12:34:56.7+01'", "'9999-12-31 23:59:59.999+00'"],
  },
  { sql: 'json', literals: [`'{"b": 1,  "a": [1,null]}'`, "'null'", "'[]'"] },
  { sql: 'jsonb', literals: [`'{"b": 1, "a": 1.10}'`, '\'"text"\'', "'{}'"] },
  { sql: 'bytea', literals: ["'\\x'", "'\\x00ff10'"] },
  { sql: 'inet', literals: ["'192.168.1.5/24'", "'::1'"] },
  { sql: 'random_mood', literals: ["'sad'", "'happy'"] },
  { sql: 'integer[]', literals: ["'{}'", "'{1,NULL,-4}'"] },
  { sql: 'text[]', literals: ["'{}'", `'{a,"b c",NULL,""}'`] },
  { sql: 'uuid[]', literals: ["'{6f1d1a9e-2d9b-4d0f-9a43-0a1b2c3d4e5f}'"] },
  { sql: 'numeric(10,2)[]', literals: ["'{1.10,-2.25,NULL}'"] },
];

interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly isNullable: boolean;
  readonly hasDefault: boolean;
  /** Large, and stored out of line: left out of updates that do not change it. */
  readonly isToasted: boolean;
}

interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly identity: 'default' | 'full' | 'nothing';
  /** Key values in use. */
  readonly keys: number[];
  next: number;
}

const rowsMax = 6;

/** `tables` tables with 1 to 8 columns beside the key, and a few transactions on each. */
export function randomDatabase(seed: number, tables: number): RandomDatabase {
  const random = createRandom(seed);
  const made = Array.from({ length: tables }, (_, index) => randomTable(random, index));
  const junk = /* sql */ `create function random_junk(seed text) returns text language sql immutable as
    $$ select string_agg(md5(seed || i), '' order by i) from generate_series(1, 400) i $$`;
  const setup = [
    `create type random_mood as enum ('sad', 'ok', 'happy')`,
    junk,
    ...made.flatMap(createTable),
  ];
  const traffic = made.flatMap((table) =>
    Array.from({ length: 6 }, () => randomTransaction(random, table)),
  );
  return { setup: setup.join(';\n'), traffic };
}

function randomTable(random: Random, index: number): Table {
  const count = random.integer(1, 8);
  const columns = Array.from({ length: count }, (_, at): Column => {
    const isToasted = random.chance(0.15);
    const type = isToasted ? { sql: 'text', literals: [] } : random.pick(columnTypes);
    const hasDefault = !isToasted && random.chance(0.2);
    return { name: `c${at}`, type, isToasted, hasDefault, isNullable: random.chance(0.7) };
  });
  const identity = random.pick(['default', 'default', 'full', 'nothing'] as const);
  return { name: `random_${index}`, columns, identity, keys: [], next: 1 };
}

function createTable({ name, columns, identity }: Table): readonly string[] {
  const declared = columns.map((column) => {
    const fallback = column.hasDefault ? ` default ${column.type.literals[0]}` : '';
    return `${column.name} ${column.type.sql}${fallback}${column.isNullable ? '' : ' not null'}`;
  });
  const toasted = columns.filter(({ isToasted }) => isToasted);
  // Without a replica identity only inserts are possible, so such a table has no key.
  const key = identity === 'nothing' ? 'integer' : 'integer primary key';
  return [
    `create table ${name} (id ${key}, ${declared.join(', ')})`,
    ...toasted.map((column) => `alter table ${name} alter ${column.name} set storage external`),
    ...(identity === 'default' ? [] : [`alter table ${name} replica identity ${identity}`]),
  ];
}

function randomTransaction(random: Random, table: Table): string {
  const statements = Array.from({ length: random.integer(1, 4) }, () =>
    randomStatement(random, table),
  );
  return `begin; ${statements.join('; ')}; commit`;
}

function randomStatement(random: Random, table: Table): string {
  const { name, columns, keys, identity } = table;
  const own = keys.length === 0 ? undefined : random.pick(keys);
  if (
    own === undefined ||
    identity === 'nothing' ||
    (keys.length < rowsMax && random.chance(0.4))
  ) {
    const id = table.next;
    table.next += 1;
    keys.push(id);
    const given = columns.filter((column) => !column.hasDefault || random.chance(0.7));
    const values = given.map((column) => randomValue(random, column, id));
    const names = ['id', ...given.map((column) => column.name)];
    return `insert into ${name} (${names.join(', ')}) values (${[id, ...values].join(', ')})`;
  }
  if (random.chance(0.2)) {
    keys.splice(keys.indexOf(own), 1);
    return `delete from ${name} where id = ${own}`;
  }
  if (random.chance(0.25)) {
    const id = table.next;
    table.next += 1;
    keys[keys.indexOf(own)] = id;
    return `update ${name} set id = ${id} where id = ${own}`;
  }
  const column = random.pick(columns);
  return `update ${name} set ${column.name} = ${randomValue(random, column, own)} where id = ${own}`;
}

function randomValue(random: Random, column: Column, id: number): string {
  if (column.isNullable && random.chance(0.25)) return 'null';
  if (column.isToasted) return `random_junk('${id}-${random.integer(1, 1_000)}')`;
  return random.pick(column.type.literals);
}
