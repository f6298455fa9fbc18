import { randomBytes } from 'node:crypto';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { type JobReport, LakeConnection } from '../../sinks/bigquery/client.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

let lake: LakeConnection;
/** When each load ended, and whether it failed. */
let loads: (JobReport & { readonly atMs: number })[];
const table = 'numbers';
const fields = [{ name: 'n', type: 'INT64' }];
const load = () =>
  lake.load({
    jobId: `tributary_load_${randomBytes(8).toString('hex')}`,
    table,
    fields,
    rows: [{ n: 1 }],
  });
const fail = (reason: 'backendError' | 'invalid', times: number) =>
  fake.faults.add({
    jobKind: 'load',
    times,
    fault: { kind: 'job-error', error: { reason, message: 'not now' } },
  });

beforeEach(async () => {
  loads = [];
  const dataset = `loads_${randomBytes(6).toString('hex')}`;
  await fake.store.createDataset({ projectId: 'test', datasetId: dataset });
  lake = new LakeConnection({
    project: 'test',
    dataset,
    location: 'US',
    endpoint: fake.apiEndpoint,
    onJob(job) {
      if (job.kind === 'load') loads.push({ ...job, atMs: performance.now() });
    },
  });
  await lake.createTable({ name: table, fields });
});
const pauses = () => loads.slice(1).map(({ atMs }, index) => atMs - (loads[index]?.atMs ?? 0));

test('a load that failed is tried again after pauses that grow, under ids of their own, and loads once', async () => {
  fail('backendError', 3);
  await load();
  expect(loads.map(({ isFailed }) => isFailed)).toEqual([true, true, true, false]);
  // At least half of 200 ms, and of twice as much each time. A timer may be a millisecond early.
  for (const [index, pauseMs] of pauses().entries()) {
    expect(pauseMs).toBeGreaterThanOrEqual(100 * 2 ** index - 1);
  }
  expect(await lake.rows(`select count(*) from \`${lake.dataset}\`.${table}`)).toEqual([['1']]);
});

test('a load that failed five times fails for good', async () => {
  fail('backendError', 5);
  await expect(load()).rejects.toMatchObject({ kind: 'sink-failed' });
  expect([loads.length, fake.faults.left]).toEqual([5, 0]);
});

test('a load that failed for a reason that does not pass is not tried again', async () => {
  fail('invalid', 1);
  await expect(load()).rejects.toMatchObject({ kind: 'sink-refused' });
  expect(loads).toHaveLength(1);
});
