import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { once } from 'node:events';
import { BigQuery, type Job } from '@google-cloud/bigquery';
import { PassThroughClient } from 'google-auth-library';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeBigQuery } from './fake-bigquery.ts';
import { quotaLimits } from './faults.ts';

let fake: FakeBigQuery;
let client: BigQuery;
let now = Date.UTC(2026, 0, 1);

const connect = (): BigQuery =>
  new BigQuery({
    projectId: 'p-1',
    apiEndpoint: fake.apiEndpoint,
    authClient: new PassThroughClient(),
    retryOptions: { autoRetry: false },
  } as ConstructorParameters<typeof BigQuery>[0]);

beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  fake = await FakeBigQuery.start({ now: () => now, quotas: quotaLimits });
  client = connect();
  await fake.store.createDataset({ projectId: 'p-1', datasetId: 'd' });
});

afterEach(() => fake[Symbol.asyncDispose]());

const run = async (query: string, params?: Record<string, unknown>): Promise<unknown[]> => {
  const [job] = await client.createQueryJob({ query, ...(params === undefined ? {} : { params }) });
  const [rows] = await job.getQueryResults({ wrapIntegers: true });
  return rows.map((row: Record<string, unknown>) => JSON.parse(JSON.stringify(row)) as unknown);
};
const ints = (...values: number[]) =>
  values.map((value) => ({ type: 'BigQueryInt', value: String(value) }));

async function load(rows: readonly string[], metadata: object = {}): Promise<Job> {
  const stream = client
    .dataset('d')
    .table('s')
    .createWriteStream({ sourceFormat: 'NEWLINE_DELIMITED_JSON', ...metadata });
  const done = once(stream, 'job');
  // The stream itself fails with its job; what is asked of here is the job.
  await Promise.allSettled([pipeline(Readable.from(rows.map((row) => `${row}\n`)), stream)]);
  const [job] = (await done) as [Job];
  await expect.poll(async () => (await job.getMetadata())[0].status.state).toBe('DONE');
  return job;
}

describe('scripts', () => {
  test('a transaction appends, merges and moves a checkpoint, and a replay does nothing', async () => {
    await run(`create table d.c (next INT64); insert d.c values (0);
      create table d.state (id INT64 NOT NULL, v STRING, seq STRING);
      create table d.s (id INT64, v STRING, seq STRING); insert d.s values (1, 'a', '1'), (2, 'b', '2')`);
    const script = `begin transaction;
      if (select next from \`p-1.d.c\`) = 0 then
        merge d.state t using d.s s on t.id = s.id
          when matched and s.seq > t.seq then update set v = s.v, seq = s.seq
          when not matched then insert (id, v, seq) values (s.id, s.v, s.seq);
        update d.c set next = 2 where true;
      end if;
      commit transaction;`;
    await run(script);
    await run(script);
    expect(await run('select count(*) as n, min(next) as next from d.state, d.c')).toEqual([
      { n: ints(2)[0], next: ints(2)[0] },
    ]);
  });

  test('an error rolls the open transaction back', async () => {
    await run('create table d.t (id INT64)');
    await expect(
      run(`begin; insert into d.t values (1); select error('stop'); commit`),
    ).rejects.toThrow('stop');
    expect(await run('select id from d.t')).toEqual([]);
  });

  test('MERGE refuses two source rows for one row of the target', async () => {
    await run('create table d.t (id INT64, v INT64); insert d.t values (1, 0)');
    const merge = `merge d.t t using (select 1 as id, 1 as v union all select 1, 2) s on t.id = s.id
      when matched then update set v = s.v`;
    await expect(run(merge)).rejects.toThrow('must match at most one source row');
  });

  test('of two transactions that mutate one table the second is aborted', async () => {
    await run('create table d.t (id INT64); insert d.t values (1)');
    const { promise, resolve } = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    fake.onStatement = async (sql) => {
      if (sql !== 'commit') return;
      reached.resolve();
      await promise;
    };
    const first = run('begin; update d.t set id = 2 where true; commit');
    await reached.promise;
    await expect(run('begin; update d.t set id = 3 where true; commit')).rejects.toThrow(
      'Transaction is aborted due to concurrent update against table p-1:d.t',
    );
    resolve();
    await first;
    expect(await run('select id from d.t')).toEqual([{ id: ints(2)[0] }]);
  });

  test.for([
    ['begin; create table d.x (id INT64); commit', 'not supported inside a transaction'],
    ['update d.t set id = 1', 'must have a WHERE clause'],
    ['create table d.x (order INT64)', 'Unexpected keyword ORDER'],
    ['create table d.x (_CHANGE_TYPE STRING)', 'Invalid field name'],
    ['call something()', 'Unexpected "call"'],
    ['select * from d.missing', 'Not found: Table p-1:d.missing'],
  ] as const)('%s is refused', async ([sql, message]) => {
    await run('create table d.t (id INT64)');
    await expect(run(sql)).rejects.toThrow(message);
  });

  test('parameters keep their types', async () => {
    const params = { list: ['a', 'b'], one: 'b', row: { x: 1 } };
    expect(await run('select @one in unnest(@list) as found, @row.x as x', params)).toEqual([
      { found: true, x: ints(1)[0] },
    ]);
  });

  test('NULLs sort, compare and concatenate as in BigQuery', async () => {
    const sql = `select greatest(1, null) as g, concat('a', null) as c, cast(numeric '1.50' as string) as n`;
    expect(await run(sql)).toEqual([{ g: null, c: null, n: '1.5' }]);
    expect(await run('select x from unnest([2, null, 1]) as x order by x')).toEqual([
      { x: null },
      { x: ints(1)[0] },
      { x: ints(2)[0] },
    ]);
  });

  test('rows that were streamed lately cannot be mutated in a transaction', async () => {
    await run('create table d.t (id INT64)');
    await fake.store.appendStreamed({ projectId: 'p-1', datasetId: 'd', tableId: 't' }, [
      { id: 1n },
    ]);
    const script = 'begin; delete from d.t where id = 1; commit';
    await expect(run(script)).rejects.toThrow('streaming buffer');
    now += 31 * 60 * 1000;
    await run(script);
    expect(await run('select id from d.t')).toEqual([]);
  });
});

describe('loads', () => {
  const schema = {
    fields: [
      { name: 'id', type: 'INT64' },
      { name: 'n', type: 'NUMERIC' },
      { name: 'a', type: 'STRING', mode: 'REPEATED' },
    ],
  };

  test('rows arrive exactly, and a repeated job id is a duplicate', async () => {
    const job = await load(['{"ID": 9007199254740993, "n": "0.000000001", "a": ["x"]}'], {
      schema,
      jobId: 'j1',
    });
    expect(job.metadata.status.errorResult).toBeUndefined();
    expect(job.metadata.statistics.load.outputRows).toBe('1');
    expect(
      await run('select cast(id as string) as id, cast(n as string) as n, a from d.s'),
    ).toEqual([{ id: '9007199254740993', n: '0.000000001', a: ['x'] }]);
    const stream = client
      .dataset('d')
      .table('s')
      .createWriteStream({ sourceFormat: 'NEWLINE_DELIMITED_JSON', jobId: 'j1' });
    await expect(pipeline(Readable.from(['{}\n']), stream)).rejects.toMatchObject({ code: 409 });
  });

  test.for([
    ['{"id": 1, "other": 2}', 'No such field: other'],
    ['{"id": "9223372036854775808"}', 'Integer out of range'],
    ['{"n": "1e29"}', 'out of range'],
    ['{"a": [null]}', 'NULL'],
  ] as const)('%s fails the job and loads nothing', async ([row, message]) => {
    const job = await load(['{"id": 1}', row], { schema });
    expect(job.metadata.status.errorResult.message).toContain(message);
    expect(await run('select id from d.s')).toEqual([]);
  });

  test('the quota of metadata updates is counted by the clock', async () => {
    await run('create table d.t (id INT64)');
    const table = client.dataset('d').table('t');
    for (let count = 0; count < 5; count += 1)
      await table.setMetadata({ description: String(count) });
    await expect(table.setMetadata({ description: 'x' })).rejects.toMatchObject({
      code: 403,
      errors: [{ reason: 'rateLimitExceeded' }],
    });
    now += 10_001;
    await table.setMetadata({ description: 'y' });
  });
});

describe('tables', () => {
  test('columns are added, relaxed and widened, and nothing else', async () => {
    const [table] = await client
      .dataset('d')
      .createTable('t', { schema: { fields: [{ name: 'id', type: 'INT64', mode: 'REQUIRED' }] } });
    await table.setMetadata({
      schema: {
        fields: [
          { name: 'id', type: 'NUMERIC' },
          { name: 'v', type: 'STRING' },
        ],
      },
    });
    const [metadata] = await table.getMetadata();
    expect(
      metadata.schema.fields.map((field: { name: string; type: string }) => [
        field.name,
        field.type,
      ]),
    ).toEqual([
      ['id', 'NUMERIC'],
      ['v', 'STRING'],
    ]);
    await expect(
      table.setMetadata({ schema: { fields: [{ name: 'id', type: 'STRING' }] } }),
    ).rejects.toThrow('has changed type');
  });
});

describe('faults', () => {
  test('a lost reply leaves the work done', async () => {
    await run('create table d.t (id INT64)');
    fake.faults.add({ method: 'POST', sql: /insert/, fault: { kind: 'reset', when: 'after' } });
    await expect(run('insert d.t values (1)')).rejects.toThrow(/hang up|ECONNRESET/);
    await expect.poll(() => run('select id from d.t')).toEqual([{ id: ints(1)[0] }]);
    expect(fake.faults.left).toBe(0);
  });

  test.for([
    ['authError', 401],
    ['quotaExceeded', 403],
    ['tooManyRequests', 429],
    ['backendError', 503],
  ] as const)('%s is answered with %i', async ([reason, code]) => {
    fake.faults.add({ path: /jobs$/, fault: { kind: 'error', when: 'before', reason } });
    await expect(run('select 1')).rejects.toMatchObject({ code });
  });

  test('a job may be DONE with only errorResult, and another runs when the test says so', async () => {
    fake.faults.add({
      jobKind: 'query',
      fault: { kind: 'job-error', error: { reason: 'backendError', message: 'lost' } },
    });
    await expect(run('select 1')).rejects.toThrow('lost');
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.faults.add({ jobKind: 'query', fault: { kind: 'hold-job', until: promise } });
    const [job] = await client.createQueryJob({ query: 'select 1 as x' });
    expect((await job.getMetadata())[0].status.state).toBe('RUNNING');
    resolve();
    expect((await job.getQueryResults())[0]).toEqual([{ x: 1 }]);
  });
});
