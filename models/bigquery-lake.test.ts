import { expect, test } from 'vitest';
import { bigqueryLake } from './bigquery-lake.ts';

const place = { project: 'shop', dataset: 'lake' };

/** A catalog of these columns ("table.column type") that answers nothing else. */
const catalog = (columns: readonly string[], asked: string[] = []) =>
  bigqueryLake({
    ...place,
    query: async (sql) => {
      asked.push(sql);
      if (sql.includes('min(applied)')) return [['0001/A']];
      if (!sql.includes('INFORMATION_SCHEMA.COLUMNS')) return [];
      return columns.map((line) => /^(\S+)\.(\S+) (.*)$/.exec(line)!.slice(1));
    },
  });
const changes = (table: string) => [
  `${table}__changes.id INT64`,
  `${table}__changes._cdc_seq STRING`,
];

test('the default schema has no name in the dataset, others stand before the table', async () => {
  const lake = catalog([...changes('orders'), ...changes('crm__orders')]);
  const { tables } = await lake.read(['public.orders', 'crm.orders', 'crm.gone']);
  expect(tables.map(({ schema, name, stored }) => [schema, name, stored])).toEqual([
    ['public', 'orders', { schema: 'lake', changes: 'orders__changes' }],
    ['crm', 'orders', { schema: 'lake', changes: 'crm__orders__changes' }],
  ]);
});

test("a column is of the family that BigQuery has for it, the lake's own among them", async () => {
  const lake = catalog([
    't__changes.at TIMESTAMP',
    't__changes.local DATETIME',
    't__changes.tags JSON',
    't__changes._cdc_seq STRING',
    't__changes._cdc_unchanged ARRAY<STRING>',
    '_tributary_watermarks.committed_at TIMESTAMP',
  ]);
  const { tables, watermarks } = await lake.read(['public.t']);
  expect(tables[0]?.columns.map(({ name, family }) => [name, family])).toEqual([
    ['at', 'timestamptz'],
    ['local', 'timestamp'],
    ['tags', 'json'],
  ]);
  expect(tables[0]?.meta).toEqual({ _cdc_seq: 'text', _cdc_unchanged: 'array' });
  expect(watermarks).toEqual({ schema: 'lake', columns: { committed_at: 'timestamptz' } });
});

test('models are of the position that all shares have applied', async () => {
  const asked: string[] = [];
  const lake = catalog(
    [
      ...changes('t'),
      '_tributary_watermarks.cut STRING',
      '_tributary_checkpoints.applied STRING',
      '_tributary_checkpoints_1.applied STRING',
    ],
    asked,
  );
  const { tables, watermarks } = await lake.read(['public.t']);
  expect(asked.find((sql) => sql.includes('min(applied)'))).toBe(
    'select min(applied) from (select applied from `shop`.`lake`.`_tributary_checkpoints`' +
      ' union all select applied from `shop`.`lake`.`_tributary_checkpoints_1`)',
  );
  expect([tables[0]?.cut, watermarks?.cut]).toEqual(['0001/A', '0001/A']);
});

test('a dataset that no sink has opened has nothing, and is asked for nothing more', async () => {
  const asked: string[] = [];
  expect(await catalog([], asked).read(['public.t'])).toEqual({ tables: [], watermarks: null });
  expect(asked).toHaveLength(1);
});

const endpoint = 'http://127.0.0.1:9050';
const credentialsFile = '/run/secrets/key.json';
const adc = { method: 'oauth', scopes: ['https://www.googleapis.com/auth/bigquery'] };
const env = { GOOGLE_CLOUD_PROJECT: 'shop' };
const named = { ...env, GOOGLE_APPLICATION_CREDENTIALS: credentialsFile };
const nobody = { method: 'oauth-secrets', token: 'none', job_retries: 0, api_endpoint: endpoint };

test.each([
  ["the machine's own credentials", {}, { access: adc, env }],
  ['those of a file', { credentialsFile }, { access: adc, env: named }],
  ['an emulator, without credentials', { endpoint }, { access: nobody, env }],
  [
    'another address with credentials',
    { endpoint, credentialsFile },
    { access: { ...adc, api_endpoint: endpoint }, env: named },
  ],
])('dbt reaches it with %s', (_name, given, expected) => {
  const lake = bigqueryLake({ ...place, location: 'EU', query: async () => [], ...given });
  expect(lake.profile('analytics')).toEqual({
    type: 'bigquery',
    project: 'shop',
    dataset: 'analytics',
    threads: 8,
    priority: 'interactive',
    job_execution_timeout_seconds: 1800,
    location: 'EU',
    ...expected.access,
  });
  expect(lake.env).toEqual(expected.env);
});

test.each([
  ['no key and no labels', {}, { job_labels: { 'made-by': 'tributary' } }],
  [
    'both, of which ours is not to be taken away',
    {
      kmsKey: 'projects/p/locations/eu/keyRings/r/cryptoKeys/k',
      labels: { team: 'data', 'made-by': 'x' },
    },
    {
      kms_key: 'projects/p/locations/eu/keyRings/r/cryptoKeys/k',
      job_labels: { team: 'data', 'made-by': 'tributary' },
    },
  ],
])('jobs and tables of the models are told %s', (_name, given, vars) => {
  expect(bigqueryLake({ ...place, query: async () => [], ...given }).vars).toEqual(vars);
});
