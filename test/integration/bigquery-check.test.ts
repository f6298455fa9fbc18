import { expect, test } from 'vitest';
import { checkLake } from '../../sinks/bigquery/check-lake.ts';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import { FakeBigQuery, type FakeOptions } from '../support/bigquery/fake-bigquery.ts';

const modes: readonly BigQueryMode[] = ['batch', 'stream', 'bigquery-cdc'];

/** What a dataset in the US is found to lack. */
async function findings(
  options: FakeOptions,
  given: { readonly dataset?: string; readonly location?: string; readonly mode?: BigQueryMode },
) {
  await using fake = await FakeBigQuery.start(options);
  const place = { projectId: 'test', datasetId: 'lake' };
  await fake.store.createDataset(place);
  const found = await checkLake({
    project: 'test',
    dataset: 'lake',
    endpoint: fake.apiEndpoint,
    storageEndpoint: fake.storageEndpoint,
    ...given,
  });
  const left = fake.store.tables(place).map(({ ref }) => ref.tableId);
  expect(left, 'the check leaves nothing').toEqual([]);
  return found;
}

test.each(modes)('a dataset that mode %s can load has no finding', async (mode) => {
  expect(await findings({}, { mode })).toEqual([]);
});

test('a dataset that is not there comes with the statement that makes it', async () => {
  expect(await findings({}, { dataset: 'lak', location: 'US' })).toMatchObject([
    {
      severity: 'error',
      what: 'there is no dataset lak',
      sql: expect.stringContaining('create schema `lak`') as string,
    },
  ]);
});

test('a dataset of another location is named with where it is', async () => {
  const [finding] = await findings({}, { location: 'EU' });
  expect(finding?.what).toBe('dataset lake is in US, not in EU');
});

test.each(modes)('every permission that mode %s lacks is named', async (mode) => {
  const deniedPermissions = ['bigquery.tables.updateData', 'bigquery.tables.getData'];
  const [finding] = await findings({ deniedPermissions }, { mode });
  expect(finding?.what).toBe(
    'the account lacks bigquery.tables.getData, bigquery.tables.updateData on dataset lake',
  );
});
