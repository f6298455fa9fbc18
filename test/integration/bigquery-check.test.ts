import { createServer } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { checkLake } from '../../sinks/bigquery/check-lake.ts';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import { FakeBigQuery, type FakeOptions } from '../support/bigquery/fake-bigquery.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tributary-check-'));
});
afterAll(() => rm(folder, { recursive: true }));

const modes: readonly BigQueryMode[] = ['batch', 'stream', 'bigquery-cdc'];

/** What a dataset in the US is found to lack. */
async function findings(
  options: FakeOptions,
  given: {
    readonly dataset?: string;
    readonly location?: string;
    readonly mode?: BigQueryMode;
    readonly credentialsFile?: string;
  },
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

test.each(modes)(
  'a key file that is broken is one finding of mode %s, by its setting',
  async (mode) => {
    const credentialsFile = join(folder, 'broken.json');
    await writeFile(credentialsFile, '{"type": "service_account", "private_key": "secret');
    expect(await findings({}, { mode, credentialsFile })).toEqual([
      {
        severity: 'error',
        what: `sinks.<name>.credentials_file: ${credentialsFile} is not an object of JSON`,
        why: expect.stringContaining('JSON key of a service account') as string,
        sql: null,
      },
    ]);
  },
);

test('a federation file gets its token where it says, for BigQuery, and nothing is printed', async () => {
  const printed = vi.spyOn(console, 'warn');
  const asked: URLSearchParams[] = [];
  const exchange = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (body: string) => asked.push(new URLSearchParams(body)));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ access_token: 'word', expires_in: 3_600, token_type: 'Bearer' }));
  });
  exchange.listen(0, '127.0.0.1');
  const credentialsFile = join(folder, 'federation.json');
  const token = join(folder, 'token');
  try {
    await vi.waitUntil(() => exchange.listening);
    await writeFile(token, 'who I am');
    const federation = {
      type: 'external_account',
      audience:
        '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `http://127.0.0.1:${(exchange.address() as AddressInfo).port}/token`,
      credential_source: { file: token },
    };
    await writeFile(credentialsFile, JSON.stringify(federation));
    expect(await findings({}, { credentialsFile })).toEqual([]);
  } finally {
    exchange.closeAllConnections();
    exchange.close();
  }
  expect(asked.map((form) => [form.get('subject_token'), form.get('scope')])).toEqual([
    ['who I am', 'https://www.googleapis.com/auth/bigquery'],
  ]);
  expect(printed.mock.calls).toEqual([]);
});
