import type { Random } from '../../../commands/demo/random.ts';

/** A column's type, and literals of it. */
interface ColumnType {
  readonly sql: string;
  readonly literal: (random: Random) => string;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const pad = (value: number, digits = 2): string => String(value).padStart(digits, '0');
const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => random.integer(0, 9)).join('');
const signed = (random: Random, text: string): string => (random.chance(0.4) ? `-${text}` : text);
const date = (random: Random): string =>
  `${random.pick(['0001', '1582', '1969', '1970', '2000', '2026', '9999'])}-${pad(random.integer(1, 12))}-${pad(random.integer(1, 28))}`;
const time = (random: Random, fraction: number): string =>
  `${pad(random.integer(0, 23))}:${pad(random.integer(0, 59))}:${pad(random.integer(0, 59))}.${digits(random, fraction)}`;
const words = ['', ' ', 'a', "it's", 'ÄÖ ☃ 😀', 'tab\there', '{"x": 1}', '\\N', 'NULL', '"quoted"'];
const text = (random: Random): string =>
  random.chance(0.06) ? random.hex(9000) : random.pick(words).repeat(random.integer(1, 3));
const decimal = (random: Random, whole: number, scale: number): string =>
  signed(random, `${digits(random, random.integer(1, whole))}.${digits(random, scale)}`);
const array = (random: Random, item: () => string, sql: string): string =>
  `array[${Array.from({ length: random.integer(0, 3) }, () => (random.chance(0.2) ? 'null' : item())).join(', ')}]::${sql}`;
const bits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => random.integer(0, 1)).join('');
const integer = (low: number, high: number) => (random: Random) =>
  random.pick([
    String(low),
    String(high),
    '0',
    '-1',
    String(random.integer(-100_000, 100_000) % high),
  ]);

const type = (sql: string, literal: ColumnType['literal']): ColumnType => ({ sql, literal });

const plainTypes: readonly ColumnType[] = [
  type('boolean', (random) => String(random.chance(0.5))),
  type('smallint', integer(-32_768, 32_767)),
  type('integer', integer(-2_147_483_648, 2_147_483_647)),
  type(
    'bigint',
    (random) =>
      `'${random.pick(['-9223372036854775808', '9223372036854775807', '0', digits(random, 15)])}'`,
  ),
  type('oid', (random) => random.pick(['0', '4294967295', digits(random, 6)])),
  type('real', (random) =>
    random.pick([
      "'NaN'",
      "'-Infinity'",
      '0',
      "'-0'",
      '3.4028235e38',
      '1e-45',
      decimal(random, 3, 3),
    ]),
  ),
  type('double precision', (random) =>
    random.pick([
      "'NaN'",
      "'Infinity'",
      "'-0'",
      '1.7976931348623157e308',
      '5e-324',
      decimal(random, 9, 7),
    ]),
  ),
  type('numeric(10,2)', (random) => decimal(random, 8, 2)),
  type('numeric(38,10)', (random) => decimal(random, 28, 10)),
  type('numeric(5,0)', (random) => signed(random, digits(random, 5))),
  type('numeric', (random) => decimal(random, 20, random.integer(1, 12))),
  type('text', (random) => quoted(text(random))),
  type('varchar(40)', (random) => quoted(random.pick(words))),
  type('char(7)', (random) => quoted(random.pick(['', 'a', 'é', 'seven77']))),
  type('date', (random) => quoted(date(random))),
  type('time', (random) => random.pick([quoted(time(random, 6)), "'24:00:00'"])),
  type('time(3)', (random) => quoted(time(random, 3))),
  type('time(0)', (random) => quoted(time(random, 0).slice(0, 8))),
  type('timestamp', (random) => quoted(`${date(random)} ${time(random, 6)}`)),
  type('timestamp(3)', (random) => quoted(`${date(random)} ${time(random, 3)}`)),
  type('timestamptz', (random) =>
    quoted(`${date(random)} ${time(random, random.integer(1, 6))}+${pad(random.integer(0, 14))}`),
  ),
  type('timestamptz(0)', (random) => quoted(`${date(random)} ${time(random, 1)}+00`)),
  type('uuid', (random) => quoted(random.uuid())),
  type('json', (random) => quoted(random.pick(['null', '{"b": 1,  "a": []}', '"☃"', '1.10']))),
  type('jsonb', (random) =>
    quoted(`{"k": "${random.hex(random.integer(1, 8))}", "n": [1.10, null]}`),
  ),
  type('bytea', (random) => `'\\x${random.hex(2 * random.integer(0, 12))}'`),
  type('mood', (random) => quoted(random.pick(['sad', 'ok', 'happy']))),
  type('inet', (random) => quoted(random.pick(['192.168.1.5/24', '::1', '10.0.0.1']))),
  type('xml', (random) => quoted(random.pick(['<a/>', '<b c="1">é</b>', 'text &amp; more']))),
  type('tsvector', (random) => quoted(random.pick(['a b', 'fat:2,4A cat:3', '']))),
  type('interval', (random) =>
    quoted(
      `${random.integer(-9, 9)} years ${random.integer(-20, 20)} mons ${random.integer(-400, 400)} days ${random.pick(['', '-'])}${random.integer(0, 99)}:00:${random.integer(0, 59)}.${pad(random.integer(0, 999_999), 6)}`,
    ),
  ),
  type('point', (random) => quoted(`(${decimal(random, 5, 3)},${decimal(random, 5, 3)})`)),
  type('hstore', (random) =>
    quoted(
      Array.from({ length: random.integer(0, 9) }, () => {
        const value = random.chance(0.2)
          ? 'NULL'
          : `"${random.pick(['', 'é', ' v', random.hex(6)])}"`;
        return `"${random.hex(random.integer(1, 5))}"=>${value}`;
      }).join(', '),
    ),
  ),
  type('ltree', (random) => quoted(random.pick(['', 'a', 'top.a_1.b']))),
  type('money', (random) => quoted(decimal(random, 9, 2))),
  type('bit(1)', (random) => `B'${random.integer(0, 1)}'`),
  type('bit(11)', (random) => `B'${bits(random, 11)}'`),
  type('varbit(20)', (random) => `B'${bits(random, random.integer(0, 20))}'`),
  type('varbit', (random) => `B'${bits(random, random.integer(1, 70))}'`),
  type('timetz', (random) =>
    quoted(`${time(random, 6)}${random.pick(['+00', '-11:30', '+02', '+05:53'])}`),
  ),
  type('macaddr', () => "'08:00:2b:01:02:03'"),
  type('int4range', (random) => quoted(random.pick(['empty', '[1,5)', '(,)']))),
  type('integer[]', (random) => array(random, () => String(random.integer(-9, 9)), 'integer[]')),
  type('text[]', (random) => array(random, () => quoted(random.pick(words)), 'text[]')),
  type('numeric(8,3)[]', (random) => array(random, () => decimal(random, 5, 3), 'numeric(8,3)[]')),
  type('timestamptz[]', (random) =>
    array(random, () => quoted(`${date(random)} ${time(random, 6)}+00`), 'timestamptz[]'),
  ),
  type('boolean[]', (random) => array(random, () => random.pick(['true', 'false']), 'boolean[]')),
  type('uuid[]', (random) => array(random, () => quoted(random.uuid()), 'uuid[]')),
];

/** Types of a key's first column, with the nth distinct literal. */
const keyTypes: readonly { readonly sql: string; readonly nth: (n: number) => string }[] = [
  { sql: 'integer', nth: (n) => String(n) },
  { sql: 'bigint', nth: (n) => String(9_000_000_000_000 + n) },
  { sql: 'smallint', nth: (n) => String(n) },
  { sql: 'text', nth: (n) => quoted(`key ${n} é`) },
  { sql: 'uuid', nth: (n) => quoted(`00000000-0000-4000-8000-${pad(n, 12)}`) },
  { sql: 'numeric(12,3)', nth: (n) => `${n}.125` },
  { sql: 'date', nth: (n) => quoted(`${2000 + Math.floor(n / 28)}-01-${pad((n % 28) + 1)}`) },
  { sql: 'timestamptz', nth: (n) => quoted(`2026-01-01 00:00:00.${pad(n, 6)}+00`) },
  { sql: 'timestamp', nth: (n) => quoted(`2026-01-01 00:00:00.${pad(n, 6)}`) },
];

interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly isRequired: boolean;
  readonly default: string | null;
}

export interface RandomTable {
  readonly name: string;
  readonly create: string;
  /** One statement that changes it. */
  readonly change: (random: Random) => string;
}

const columnNames = [
  'plain',
  '1st',
  'with space',
  'naïve',
  'dot.ted',
  '$money',
  'UPPER',
  'hy-phen',
  'select',
];

/** A table of a random shape. The same seed and number make the same. */
export function randomTable(random: Random, number: number): RandomTable {
  const name = random.chance(0.2) ? `"Täble-${number} x"` : `random_${number}`;
  const columns = Array.from({ length: random.integer(1, 9) }, (_, index): Column => {
    const chosen = random.pick(plainTypes);
    const isRequired = random.chance(0.3);
    return {
      name: `"${random.pick(columnNames)} ${index}"`,
      type: chosen,
      isRequired,
      default: random.chance(0.2) ? defaultOf(chosen, random) : null,
    };
  });
  const key = random.chance(0.88) ? random.pick(keyTypes) : null;
  const hasSecond = key !== null && random.chance(0.3);
  const isFull = key === null || random.chance(0.25);
  const defined = columns.map(
    (column) =>
      `${column.name} ${column.type.sql}${column.isRequired ? ' not null' : ''}${column.default === null ? '' : ` default ${column.default}`}`,
  );
  if (key !== null) defined.splice(random.integer(0, defined.length), 0, `"key-1" ${key.sql}`);
  if (hasSecond) defined.push('second text');
  // The order in the key is not that of the columns.
  if (key !== null) defined.push(`primary key (${hasSecond ? 'second, ' : ''}"key-1")`);
  const create = `create table ${name} (${defined.join(', ')});${isFull ? ` alter table ${name} replica identity full;` : ''}`;
  return { name, create, change: changes({ name, columns, key, hasSecond }) };
}

/** Constants that both put into the schema. */
function defaultOf({ sql }: ColumnType, random: Random): string | null {
  const constants: Readonly<Record<string, string>> = {
    integer: '7',
    bigint: '8',
    boolean: 'true',
    text: "'x''y'",
    'numeric(10,2)': '1.50',
    timestamptz: random.pick(["'2020-01-02 03:04:05+00'", 'now()']),
    date: "'2020-01-02'",
    mood: "'ok'",
    interval: "'1 day'",
    money: "'1.50'",
    'bit(1)': "B'1'",
    xml: "'<a/>'",
    timetz: "'10:00:00+02'",
    hstore: "'a=>1'",
    point: "'(1,2)'",
    ltree: "'a.b'",
    tsvector: "'a'",
    uuid: 'gen_random_uuid()',
  };
  return constants[sql] ?? null;
}

interface Shape {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly key: (typeof keyTypes)[number] | null;
  readonly hasSecond: boolean;
}

function changes({ name, columns, key, hasSecond }: Shape): RandomTable['change'] {
  const live: number[] = [];
  let next = 1;
  const literal = (column: Column, random: Random): string =>
    !column.isRequired && random.chance(0.25) ? 'null' : column.type.literal(random);
  const where = (random: Random): string => {
    if (key === null) return `ctid = (select ctid from ${name} limit 1)`;
    return `"key-1" = ${key.nth(random.pick(live))}`;
  };
  const insert = (random: Random): string => {
    const names = columns.map((column) => column.name);
    const values = columns.map((column) => literal(column, random));
    if (key !== null) {
      names.push('"key-1"');
      values.push(key.nth(next));
    }
    live.push(next);
    if (hasSecond) {
      names.push('second');
      values.push(quoted(random.pick(words)));
    }
    next += 1;
    return `insert into ${name} (${names.join(', ')}) values (${values.join(', ')})`;
  };
  const rekey = (random: Random): string => {
    const index = random.integer(0, live.length - 1);
    const from = live[index]!;
    live[index] = next;
    next += 1;
    return `update ${name} set "key-1" = ${key!.nth(next - 1)} where "key-1" = ${key!.nth(from)}`;
  };
  const remove = (random: Random): string => {
    if (key === null) return `delete from ${name} where ${where(random)}`;
    const [gone] = live.splice(random.integer(0, live.length - 1), 1);
    return `delete from ${name} where "key-1" = ${key.nth(gone!)}`;
  };
  return (random) => {
    const choice = random.next();
    if (choice < 0.5 || live.length === 0) return insert(random);
    if (choice < 0.6 && key !== null) return rekey(random);
    if (choice < 0.72) return remove(random);
    if (choice < 0.74) {
      live.length = 0;
      return `truncate ${name}`;
    }
    const column = random.pick(columns);
    return `update ${name} set ${column.name} = ${literal(column, random)} where ${where(random)}`;
  };
}

/** Transactions on the tables; some are rolled back, in whole or in part. */
export function randomTraffic(
  random: Random,
  tables: readonly RandomTable[],
  count: number,
): readonly string[] {
  return Array.from({ length: count }, () => {
    const statements = Array.from({ length: random.integer(1, 6) }, () =>
      random.pick(tables).change(random),
    );
    return `begin; ${statements.join('; ')}; commit`;
  });
}
