import { BigQuery } from '@google-cloud/bigquery';
import { PassThroughClient } from 'google-auth-library';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FakeBigQuery } from './fake-bigquery.ts';

let fake: FakeBigQuery;
let client: BigQuery;

beforeAll(async () => {
  fake = await FakeBigQuery.start();
  client = new BigQuery({
    projectId: 'p-1',
    apiEndpoint: fake.apiEndpoint,
    authClient: new PassThroughClient(),
    retryOptions: { autoRetry: false },
  } as ConstructorParameters<typeof BigQuery>[0]);
});
afterAll(() => fake[Symbol.asyncDispose]());

beforeEach(async () => {
  await client
    .dataset('d')
    .delete({ force: true })
    .catch(() => undefined);
  await client.createDataset('d');
});

async function run(query: string): Promise<unknown[]> {
  const [job] = await client.createQueryJob({ query });
  const [rows] = await job.getQueryResults();
  return rows.map((row: Record<string, unknown>) => JSON.parse(JSON.stringify(row)) as unknown);
}

describe('what a statement writes is held to the rules that a load is held to', () => {
  beforeEach(() =>
    run(`create table d.v (id int64, n numeric, b bignumeric, moment timestamp, civil datetime, day date,
      j json, list array<string>, short string(3), raw bytes(2), inner_part struct<day date>)`),
  );

  test.for([
    ['n', `numeric '100000000000000000000000000000'`, 'Could not convert'],
    ['b', `bignumeric '578960446186580977117854925043439539267'`, 'BIGNUMERIC out of range'],
    ['b', `cast('abc' as bignumeric)`, 'Invalid BIGNUMERIC value: abc'],
    ['moment', 'timestamp_micros(253402300800000000)', 'TIMESTAMP value out of range'],
    ['moment', 'timestamp_micros(-62135596800000001)', 'TIMESTAMP value out of range'],
    ['civil', `datetime '10000-01-01 00:00:00'`, 'DATETIME value out of range'],
    ['day', `date_add(date '9999-12-31', interval 1 day)`, 'DATE value out of range'],
    ['day', `date '0000-12-31'`, 'DATE value out of range'],
    ['inner_part', `struct(date '0000-12-31' as day)`, 'DATE value out of range'],
    ['j', `parse_json('{')`, 'Malformed JSON'],
    ['j', `parse_json('100000000000000000001')`, 'cannot round-trip'],
    ['j', `parse_json('1e400', wide_number_mode => 'round')`, 'cannot round-trip'],
    ['j', `parse_json('${'['.repeat(501)}${']'.repeat(501)}')`, 'nested deeper than 500'],
    ['j', `parse_json('1', wide_number_mode => 'nearest')`, 'Unexpected argument of PARSE_JSON'],
    ['list', `['a', null]`, 'Array cannot have a null element; error in writing field list'],
    ['short', `'abcd'`, 'maximum length 3'],
    ['raw', `b'abc'`, 'maximum length 2'],
    ['short', '1', 'has type INT64 which cannot be inserted into column short'],
    ['id', `'1'`, 'has type STRING which cannot be inserted into column id'],
    ['j', `'{}'`, 'has type STRING which cannot be inserted into column j'],
    ['civil', 'current_timestamp()', 'has type TIMESTAMP which cannot be inserted'],
    ['list', `'a'`, 'has type STRING which cannot be inserted into column list'],
  ] as const)('into %s never goes %s', async ([column, value, message]) => {
    await expect(run(`insert into d.v (${column}) values (${value})`)).rejects.toThrow(message);
    await expect(run(`insert into d.v (${column}) select ${value}`)).rejects.toThrow(message);
    expect(await run('select count(*) as n from d.v')).toEqual([{ n: 0 }]);
  });

  test('the last values that are allowed are kept', async () => {
    await run(`insert into d.v (n, moment, civil, day, list, short, raw, j) values
      (numeric '-99999999999999999999999999999.999999999', timestamp '9999-12-31 23:59:59.999999',
       datetime '0001-01-01 00:00:00', date '9999-12-31', ['a'], 'äöü', b'ab', json '{}'),
      (null, null, null, null, [], null, null, null)`);
    expect(await run('select count(*) as n from d.v')).toEqual([{ n: 2 }]);
  });

  test('UPDATE and MERGE are held to them too, and leave nothing behind', async () => {
    await run(`insert into d.v (id, list) values (1, ['a'])`);
    const nulls = '[cast(null as string)]';
    await expect(run(`update d.v set list = ${nulls} where true`)).rejects.toThrow('null element');
    await expect(
      run(`merge d.v t using (select 1 as id, ${nulls} as list) s on t.id = s.id
        when matched then update set list = s.list`),
    ).rejects.toThrow('null element');
    expect(await run('select list from d.v')).toEqual([{ list: ['a'] }]);
  });

  test('a table made of a refused query is not made', async () => {
    const sql = `create table d.made as select ['a', null] as list`;
    await expect(run(sql)).rejects.toThrow('null element');
    await expect(run('select * from d.made')).rejects.toThrow('Not found');
  });
});

describe('BIGNUMERIC', () => {
  beforeEach(() =>
    run(`create table d.b (b bignumeric);
      insert d.b values (bignumeric '10'), (bignumeric '9'), (bignumeric '-1.5'), (bignumeric '-0.5')`),
  );

  test('sorts and compares as a number', async () => {
    const sorted = await run('select cast(b as string) as text from d.b order by b');
    expect(sorted).toEqual(['-1.5', '-0.5', '9', '10'].map((text) => ({ text })));
    const sql = `select count(*) as n from d.b where b > bignumeric '9.5' and b = bignumeric '10.0'`;
    expect(await run(sql)).toEqual([{ n: 1 }]);
  });

  test('keeps 38 digits on both sides of the point, and is told as BIGNUMERIC', async () => {
    const text = `-${'9'.repeat(38)}.${'0'.repeat(37)}1`;
    await run(`truncate table d.b; insert d.b values (bignumeric '${text}')`);
    expect(await run('select cast(b as string) as text from d.b')).toEqual([{ text }]);
    const [job] = await client.createQueryJob({ query: 'select b from d.b' });
    const [, , answer] = await job.getQueryResults();
    expect(answer?.schema?.fields?.[0]?.type).toBe('BIGNUMERIC');
  });

  test('is reached by widening', async () => {
    await run(`create table d.w (n numeric); insert d.w values (numeric '1.5');
      alter table d.w alter column n set data type bignumeric`);
    expect(await run('select cast(n as string) as text from d.w')).toEqual([{ text: '1.5' }]);
  });

  test('is not calculated with: that is refused', async () => {
    await expect(run('select b + 1 as x from d.b')).rejects.toThrow('No function matches');
    await expect(run('select 1 from d.b where b > 9')).rejects.toThrow('Cannot compare');
  });
});

describe('what DuckDB means otherwise', () => {
  test.for([
    ['select 1 / 0 as x', '"/" is not supported'],
    ['select format("%d", 1) as x', 'Function not found: FORMAT'],
    ['select list_sort([1]) as x', 'Function not found: LIST_SORT'],
    [`select * from read_csv('/etc/hostname')`, 'Table functions are not supported'],
    [`select extract(dayofweek from date '2020-01-05') as x`, 'EXTRACT of dayofweek'],
    ['select [1, null] as x', 'Array cannot have a null element'],
    [
      `select timestamp_add(timestamp '9999-12-31 23:59:59', interval 1 day) as x`,
      'TIMESTAMP value overflows',
    ],
    [`select date_add(date '9999-12-31', interval 1 day) as x`, 'DATE value overflows'],
  ] as const)('%s is refused', async ([sql, message]) => {
    await expect(run(sql)).rejects.toThrow(message);
  });

  test.for([
    [`substr('hello', 0, 2)`, 'he'],
    [`substr('hello', -3)`, 'llo'],
    [`substr('hello', -9, 2)`, 'he'],
    [`regexp_replace('aXbX', 'X', '-')`, 'a-b-'],
    [`json_value(json '{"a": [1]}', '$.a')`, null],
    [`json_value('{"a": {"b c": "x"}}', '$.a."b c"')`, 'x'],
    [`to_json_string(timestamp '2020-01-01 00:00:00.5')`, '"2020-01-01T00:00:00.5Z"'],
    ['to_json_string(9007199254740993)', '"9007199254740993"'],
    [
      `to_json_string(parse_json('{"b": 1.0, "a": [1e2, 18446744073709551615], "b": 2}'))`,
      '{"a":[100.0,18446744073709551615],"b":1.0}',
    ],
    [`to_json_string(json '{"a": "\\\\ud800"}')`, '{"a":"\uFFFD"}'],
    [
      `to_json_string(parse_json('[100000000000000000001]', wide_number_mode => 'round'))`,
      '[100000000000000000000.0]',
    ],
    [`parse_json('null') is null`, false],
    [`parse_json(null) is null`, true],
    ['unix_seconds(timestamp_micros(-1))', -1],
    ['unix_millis(timestamp_micros(-1))', -1],
    [`'a_b' like 'a\\\\_b' and 'axb' not like 'a\\\\_b'`, true],
  ] as const)('%s is %s', async ([expression, value]) => {
    expect(await run(`select ${expression} as x`)).toEqual([{ x: value }]);
  });
});

test('a MERGE that only inserts conflicts with nobody, so it is no fence', async () => {
  await run('create table d.t (id int64)');
  const reached = Promise.withResolvers<void>();
  const open = Promise.withResolvers<void>();
  fake.onStatement = async (sql) => {
    if (sql !== 'commit') return;
    fake.onStatement = async () => undefined;
    reached.resolve();
    await open.promise;
  };
  const merge = `begin; merge d.t t using (select 1 as id) s on t.id = s.id
    when not matched then insert (id) values (s.id); commit`;
  const first = run(merge);
  await reached.promise;
  await run(merge);
  open.resolve();
  await first;
  expect(await run('select id from d.t')).toEqual([{ id: 1 }, { id: 1 }]);
});

test('a transaction changes at most 100 tables, be it only by new rows; outside one there is no limit', async () => {
  const names = Array.from({ length: 101 }, (_, at) => `many${at}`);
  await run(names.map((name) => `create table d.${name} (id int64);`).join('\n'));
  const inserts = names.map((name) => `insert into d.${name} values (1);`);
  const within = (count: number) =>
    `begin transaction; ${inserts.slice(0, count).join('\n')} commit transaction;`;
  await expect(run(within(101))).rejects.toThrow('more than 100 tables');
  await run(within(100));
  await run(inserts.join('\n'));
  expect(await run('select count(*) as n from d.many0')).toEqual([{ n: 2 }]);
});

test('a query of more than 1 MB of text is refused', async () => {
  await expect(run(`select '${'x'.repeat(1024 * 1024)}'`)).rejects.toThrow('query is too large');
});
