import { once } from 'node:events';
import { BigQuery, type Job } from '@google-cloud/bigquery';
import { PassThroughClient } from 'google-auth-library';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeBigQuery } from './fake-bigquery.ts';

let fake: FakeBigQuery;
let client: BigQuery;

beforeEach(async () => {
  fake = await FakeBigQuery.start();
  client = new BigQuery({
    projectId: 'p-1',
    apiEndpoint: fake.apiEndpoint,
    authClient: new PassThroughClient(),
  } as ConstructorParameters<typeof BigQuery>[0]);
  await client.createDataset('d');
  await client.query('create table d.t (id int64, v string)');
});
afterEach(() => fake[Symbol.asyncDispose]());

const count = async (): Promise<unknown> =>
  (await client.query('select count(*) as n from d.t'))[0][0]?.n;

test('a jobs.query that the client sends again after a lost reply runs once', async () => {
  fake.faults.add({ sql: /insert/, fault: { kind: 'reset', when: 'after' } });
  await client.query('insert d.t (id) values (1)');
  expect(fake.faults.left).toBe(0);
  expect(await count()).toBe(1);
});

test('a 200 with errors looks like an empty result to query(), while its job tells', async () => {
  const error = { reason: 'backendError', message: 'lost' };
  fake.faults.add({ sql: /insert/, fault: { kind: 'errors-in-200', error } });
  const [rows, , answer] = await client.query('insert d.t (id) values (1)');
  expect(rows).toEqual([]);
  const [job] = await client.job(answer?.jobReference?.jobId ?? '').getMetadata();
  expect(job.status.errorResult).toEqual(error);
  expect(await count()).toBe(0);
});

test('a job is found in its own location only', async () => {
  const [{ id = '' }] = await client.createQueryJob({ query: 'select 1', location: 'EU' });
  await expect(client.job(id, { location: 'US' }).getMetadata()).rejects.toMatchObject({
    code: 404,
  });
  expect((await client.job(id, { location: 'EU' }).getMetadata())[0].jobReference.jobId).toBe(id);
});

test('a request that does not turn legacy SQL off is legacy SQL', async () => {
  const url = `${fake.apiEndpoint}/bigquery/v2/projects/p-1/queries`;
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ query: 'select 1' });
  const response = await fetch(url, { method: 'POST', headers, body });
  expect(response.status).toBe(400);
  expect(await response.text()).toContain('Legacy SQL');
});

test.for([
  ['insert d.t values (1, "a")', 'INSERT'],
  ['delete d.t where true', 'DELETE'],
  ['select * from d.t', 'SELECT'],
] as const)('a dry run of %s changes nothing', async ([query, statementType]) => {
  await client.query('insert d.t (id) values (7)');
  const [, answer] = await client.createQueryJob({ query, dryRun: true });
  expect(answer.statistics?.query?.statementType).toBe(statementType);
  expect(await count()).toBe(1);
});

test('a dry run refuses what would be refused', async () => {
  const job = client.createQueryJob({ query: 'select nope from d.t', dryRun: true });
  await expect(job).rejects.toMatchObject({ code: 400 });
});

test('lists come in pages', async () => {
  for (const name of ['a', 'b', 'c']) {
    await client.createDataset(name);
    await client.query(`create table d.${name} (id int64)`);
  }
  const paged = { autoPaginate: false, maxResults: 3 };
  const [datasets, next] = await client.getDatasets(paged);
  expect(datasets.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  expect(next).toMatchObject({ pageToken: '3' });
  const lake = client.dataset('d');
  const [, rest] = await lake.getTables(paged);
  const [tables, end] = await lake.getTables({ ...paged, ...rest });
  expect(tables.map(({ id }) => id)).toEqual(['t']);
  expect(end).toBeNull();
});

test('rows of a table come in pages', async () => {
  await client.query('insert d.t (id) values (1), (2), (3)');
  const table = client.dataset('d').table('t');
  const [first, next] = await table.getRows({ autoPaginate: false, maxResults: 2 });
  const [second, end] = await table.getRows({ autoPaginate: false, ...next });
  expect([...first, ...second].map(({ id }) => id)).toEqual([1, 2, 3]);
  expect(end).toBeNull();
});

test('a change that was meant for an older state of a table is refused', async () => {
  const table = client.dataset('d').table('t');
  const [{ etag }] = await table.getMetadata();
  await client.query('alter table d.t add column w string');
  await expect(table.setMetadata({ etag, description: 'late' })).rejects.toMatchObject({
    code: 412,
  });
});

test('a load tells how many rows and bytes it read', async () => {
  const options = { sourceFormat: 'NEWLINE_DELIMITED_JSON' };
  const stream = client.dataset('d').table('t').createWriteStream(options);
  const started = once(stream, 'job') as Promise<[Job]>;
  stream.end('{"id":1}\n{"id":2}');
  const [job] = await started;
  await expect.poll(async () => (await job.getMetadata())[0].status.state).toBe('DONE');
  const [{ statistics }] = await job.getMetadata();
  expect(statistics.load).toMatchObject({ inputFileBytes: '17', outputRows: '2' });
});

test('permissions of a table that is not there are not found', async () => {
  const url = `${fake.apiEndpoint}/bigquery/v2/projects/p-1/datasets/d/tables/none:testIamPermissions`;
  expect((await fetch(url, { method: 'POST' })).status).toBe(404);
});

test('a table may be there although its creation was told as failed', async () => {
  fake.faults.add({
    method: 'POST',
    path: /tables$/,
    fault: { kind: 'error', when: 'after', reason: 'notFound' },
  });
  const schema = [{ name: 'id', type: 'INT64' }];
  const created = client.dataset('d').createTable('late', { schema });
  await expect(created).rejects.toMatchObject({ code: 404 });
  expect(await client.dataset('d').table('late').exists()).toEqual([true]);
});
