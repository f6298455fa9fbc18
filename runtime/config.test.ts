import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { renderConfigReference } from './config/reference.ts';
import { loadConfig, parseConfig } from './config.ts';
import { PipelineError } from './errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const env = { DATABASE_URL: 'postgres://app:s3cret-word@db.example:5432/shop', PORT: '9464' };
const parse = (text: string, environment: Record<string, string> = env) =>
  parseConfig(text, { file: resolve('tributary.yaml'), env: environment });

/** The message of the failure that a text must bring. */
function failureOf(text: string, environment: Record<string, string> = env): string {
  try {
    parse(text, environment);
  } catch (error) {
    if (error instanceof PipelineError && error.kind === 'config-invalid') return error.message;
    throw error;
  }
  throw new Error('the text was taken');
}

const smallest = `
source: { url: \${DATABASE_URL} }
log: { type: embedded }
`;

describe('a good file', () => {
  test('the smallest file gets every default', () => {
    expect(parseConfig(smallest, { file: '/srv/shop/tributary.yaml', env })).toMatchInlineSnapshot(`
      {
        "capture": {
          "batch": {
            "age": 20,
            "size": 524288,
          },
          "pending": 4194304,
          "spool": "/srv/shop/data/spool",
          "transaction_topic": false,
          "watermark": {
            "busy": 150,
            "idle": 2000,
          },
        },
        "file": "/srv/shop/tributary.yaml",
        "log": {
          "partitions": 4,
          "path": "/srv/shop/data/log",
          "prefix": "tributary",
          "retention": {},
          "type": "embedded",
        },
        "logging": {
          "format": "auto",
          "level": "info",
        },
        "metrics": {},
        "models": undefined,
        "registry": {
          "type": "embedded",
        },
        "retry": {
          "during": 600000,
          "first": 250,
          "longest": 30000,
        },
        "sinks": {},
        "source": {
          "publication": "tributary",
          "slot": "tributary",
          "tables": [
            "public.*",
          ],
          "url": "postgres://app:s3cret-word@db.example:5432/shop",
        },
      }
    `);
  });

  test('an environment variable may stand unquoted inside braces, in a word and where a number is wanted', () => {
    const config = parse(
      `
source: { url: \${DATABASE_URL}, slot: slot_\${NAME} }
log: { type: embedded, path: "./\${NAME}/log", prefix: \${NAME} }
metrics: { port: \${PORT} }
`,
      { ...env, NAME: 'app' },
    );
    expect(config.source.slot).toBe('slot_app');
    expect(config.log).toMatchObject({ path: resolve('app/log') });
    expect(config.log.prefix).toBe('app');
    expect(config.metrics.port).toBe(9464);
  });

  test('text of the environment is never read as YAML', () => {
    const config = parse(`${smallest}sinks: { lake: { type: duckdb, path: \${LAKE} } }`, {
      ...env,
      LAKE: '/tmp/a b, tables: [x]}: #1',
    });
    expect(config.sinks['lake']).toMatchObject({ path: '/tmp/a b, tables: [x]}: #1' });
  });

  test('a variable that only a comment names need not be set', () => {
    expect(parse(`# \${NOT_SET}\n${smallest}`).source.slot).toBe('tributary');
  });

  test('secrets come from files beside the configuration', () => {
    writeFileSync(join(folder, 'url'), 'postgres://app@db.example/shop\n');
    writeFileSync(join(folder, 'password'), 'p@ss/word\n');
    writeFileSync(
      join(folder, 'tributary.yaml'),
      'source: { url_file: ./url, password_file: password }\nlog: { type: embedded, path: log }\n',
    );
    const config = loadConfig(join(folder, 'tributary.yaml'), {});
    expect(config.source.url).toBe('postgres://app:p%40ss%2Fword@db.example/shop');
    expect(config.log).toMatchObject({ path: join(folder, 'log') });
  });

  test('a BigQuery sink needs a project and a dataset, and gets every other default', () => {
    const { sinks } = parse(`${smallest}
sinks:
  small: { type: bigquery, project: shop-1, dataset: app }
  large:
    type: bigquery
    project: shop-1
    dataset: app_2
    location: EU
    mode: bigquery-cdc
    history: false
    staleness: 15 min
    credentials_file: ./key.json
    kms_key: projects/p/locations/eu/keyRings/r/cryptoKeys/k
    labels: { team: data }
    shares: 3
    spacing: { least: 10 s }
    budget: 50 GiB
    columns:
      json: json
      overrides:
        - { column: "public.orders.*", unfit: dead_letter }
`);
    expect(sinks['small']).toEqual({
      type: 'bigquery',
      project: 'shop-1',
      dataset: 'app',
      mode: 'batch',
      history: true,
      labels: {},
      shares: 1,
      tables: ['*.*'],
      columns: { json: 'string', unfit: 'exact_text', overrides: [] },
      batch: { size: 64 << 20, rows: 200_000 },
      spacing: { least: 1_000, longest: 600_000 },
    });
    expect(sinks['large']).toMatchObject({
      location: 'EU',
      mode: 'bigquery-cdc',
      history: false,
      staleness: 900_000,
      credentials_file: resolve('key.json'),
      labels: { team: 'data' },
      shares: 3,
      spacing: { least: 10_000, longest: 600_000 },
      budget: 50 * 1024 ** 3,
      columns: {
        json: 'json',
        unfit: 'exact_text',
        overrides: [{ column: 'public.orders.*', unfit: 'dead_letter' }],
      },
    });
  });

  test('a password in plain text is taken for a database on this machine only', () => {
    const withUrl = (url: string) => `source: { url: "${url}" }\nlog: { type: embedded }\n`;
    expect(parse(withUrl('postgres://app:word@127.0.0.1:5432/shop')).source.url).toContain('word');
    expect(parse(withUrl('postgres://app@db.example/shop')).source.url).toContain('db.example');
    const message = failureOf(withUrl('postgres://app:hidden-word@db.example/shop'));
    expect(message).toMatchInlineSnapshot(
      `"tributary.yaml:1:16: source.url: holds a password in plain text; give the URL as \${DATABASE_URL}, or leave the password out and give password_file"`,
    );
    expect(failureOf(withUrl('postgres://app@db.example/shop?password=hidden-word'))).toBe(message);
  });
});

describe('a bad file', () => {
  test('a secret in plain text, a log on Kafka without a registry, plain without TLS are refused', () => {
    const message = failureOf(`source: { url: "postgres://app@db.example/shop" }
log: { type: kafka, sasl: { mechanism: plain, username: app, password: hidden-word } }
`);
    expect(message).toMatchInlineSnapshot(`
      "tributary.yaml:2:14: log.type: a log on Kafka needs a registry; add \`registry: { type: confluent, url: http://localhost:8081 }\`
      tributary.yaml:2:40: log.sasl.mechanism: plain sends the password unencrypted; add a tls block, or use scram-sha-512 (allow_plain_text: true only for tests)
      tributary.yaml:2:72: log.sasl.password: is a secret in plain text; give it as \${NAME}, or name a file with it"
    `);
    expect(message).not.toContain('hidden-word');
  });

  test('a column policy that says something else, or nothing, is told with its place', () => {
    const message = failureOf(`${smallest}
sinks:
  warehouse:
    type: bigquery
    project: shop-1
    dataset: app
    columns:
      json: jsonb
      unfit: dead-letter
      overrides:
        - { column: orders.payload, json: json }
        - { column: public.orders.payload }
        - { columns: public.orders.payload, unfit: exact_text }
        - public.orders.payload
`);
    expect(message).toMatchInlineSnapshot(`
      "tributary.yaml:11:13: sinks.warehouse.columns.json: "jsonb" is not one of string, json; did you mean "json"?
      tributary.yaml:12:14: sinks.warehouse.columns.unfit: "dead-letter" is not one of exact_text, dead_letter; did you mean "dead_letter"?
      tributary.yaml:14:21: sinks.warehouse.columns.overrides.0.column: "orders.payload" does not name columns; write schema.table.column, with * for any
      tributary.yaml:15:11: sinks.warehouse.columns.overrides.1: sets nothing; give json or unfit
      tributary.yaml:16:11: sinks.warehouse.columns.overrides.2.column: is missing; give it like public.orders.payload
      tributary.yaml:16:13: sinks.warehouse.columns.overrides.2.columns: unknown key; did you mean "column"?
      tributary.yaml:17:11: sinks.warehouse.columns.overrides.3: "public.orders.payload" is not a block"
    `);
  });

  test('every problem is told at once, with line and column', () => {
    const message = failureOf(`
source: { url: \${DATABASE_URL}, slot: Shop, tables: ["public.*", "orders"] }
log:
  type: pulsar
  brokers: ["localhost:9092"]
sinks:
  lake: { type: duckdb, pathh: ./lake.duckdb, batch: { size: 8 MX, age: 10 } }
  warehouse: { type: bigquery, project: x, datset: a.b, mode: cdc, labels: { Team: data }, shares: 0 }
  second: { type: bigquery, project: shop-1, dataset: app, endpoint: localhost }
  third: { type: bigquery, project: shop-1, dataset: app, kms_key: k, storage_endpoint: localhost }
  cloud: { type: snowflake }
  Other: { type: duckdb, path: ./lake.duckdb }
models: { sink: lak, every: 1 s }
capture:
  batch:
metrics: { port: 90000 }
loging: { level: debug }
logging: { level: dbug }
`);
    expect(message).toMatchInlineSnapshot(`
      "tributary.yaml:2:39: source.slot: "Shop" is not a slot name; use at most 63 of a-z, 0-9 and _
      tributary.yaml:2:66: source.tables.1: "orders" does not name tables; write schema.table, with * for any, ! before it to leave out
      tributary.yaml:4:9: log.type: "pulsar" is not known; use "embedded" or "kafka"
      tributary.yaml:7:3: sinks.lake.path: is missing; give it like ./data/lake.duckdb
      tributary.yaml:7:25: sinks.lake.pathh: unknown key; did you mean "path"?
      tributary.yaml:7:62: sinks.lake.batch.size: "MX" is not a unit of size; use one of B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
      tributary.yaml:7:68: sinks.lake.batch.age: unknown key; known here: size, rows
      tributary.yaml:8:3: sinks.warehouse.dataset: is missing; give it like app
      tributary.yaml:8:41: sinks.warehouse.project: "x" is not a project id; write it like my-project-1
      tributary.yaml:8:44: sinks.warehouse.datset: unknown key; did you mean "dataset"?
      tributary.yaml:8:63: sinks.warehouse.mode: "cdc" is not one of batch, stream, bigquery-cdc
      tributary.yaml:8:84: sinks.warehouse.labels.Team: "Team: data" is not a label; use at most 63 lower-case letters, digits, - and _
      tributary.yaml:8:100: sinks.warehouse.shares: 0 is out of range; allowed is 1 to 64
      tributary.yaml:9:70: sinks.second.endpoint: "localhost" is not an address; write it like http://localhost:9050
      tributary.yaml:10:54: sinks.third.dataset: is the dataset of sink "second" already
      tributary.yaml:10:68: sinks.third.kms_key: "k" is not a key; write projects/P/locations/L/keyRings/R/cryptoKeys/K
      tributary.yaml:10:89: sinks.third.storage_endpoint: "localhost" is not an address; write host:port
      tributary.yaml:11:18: sinks.cloud.type: "snowflake" is not known; use "duckdb" or "bigquery"
      tributary.yaml:12:3: sinks.Other: is not a sink name; use at most 63 of a-z, 0-9, _ and -
      tributary.yaml:13:17: models.sink: "lak" is not one of the sinks; did you mean "lake"?
      tributary.yaml:13:29: models.every: "1 s" is out of range; allowed is 5 s to 7 d
      tributary.yaml:15:9: capture.batch: is empty; give a block or remove it
      tributary.yaml:16:18: metrics.port: 90000 is out of range; allowed is 1 to 65500
      tributary.yaml:17:1: loging: unknown key; did you mean "logging"?
      tributary.yaml:18:19: logging.level: "dbug" is not one of fatal, error, warn, info, debug, trace, silent; did you mean "debug"?"
    `);
  });

  test.each([
    [
      'an empty file',
      '',
      'tributary.yaml:1:1: the file: is empty; `tributary config --reference` lists what it may hold',
    ],
    ['a list', '- a', 'tributary.yaml:1:1: the file: a list is not a block'],
    ['no log', 'source: { url: $' + '{DATABASE_URL} }', 'tributary.yaml:1:1: log: is missing'],
    [
      'two sinks in one file',
      `${smallest}sinks:\n  a: { type: duckdb, path: x }\n  b: { type: duckdb, path: x }`,
      'tributary.yaml:6:28: sinks.b.path: is the file of sink "a" already',
    ],
    [
      'an emulator without the address of its streams',
      `${smallest}sinks:\n  a: { type: bigquery, project: p-1-2, dataset: d, mode: stream, endpoint: "http://h:1" }`,
      'tributary.yaml:5:76: sinks.a.endpoint: mode stream also needs storage_endpoint, like localhost:9060',
    ],
    [
      'models of a lake without changes',
      `${smallest}sinks: { a: { type: bigquery, project: p-1-2, dataset: d, mode: bigquery-cdc, history: false } }\nmodels: { sink: a }`,
      'tributary.yaml:5:17: models.sink: "a" keeps no changes, which models are made of; remove history: false',
    ],
    [
      'no url at all',
      'source: { slot: a }\nlog: { type: embedded }',
      'tributary.yaml:1:1: source.url: is missing; give it like ${DATABASE_URL}, or give url_file',
    ],
    [
      'a list that names nothing',
      'source: { url: $' + '{DATABASE_URL}, tables: [] }\nlog: { type: embedded }',
      'tributary.yaml:1:41: source.tables: is empty; name at least one',
    ],
    [
      'a key given twice',
      `${smallest}log: { type: embedded }`,
      'tributary.yaml:4:1: this is not YAML: Map keys must be unique',
    ],
    [
      'a brace left open',
      'source: { url: $' + '{DATABASE_URL}\nlog: 1',
      'tributary.yaml:2:1: this is not YAML: Flow map in block collection must be sufficiently indented and end with a }',
    ],
  ])('%s', (_case, text, message) => expect(failureOf(text).split('\n')[0]).toBe(message));

  test('a variable that is not set is named, once and where it stands', () => {
    expect(failureOf(smallest, {})).toBe(
      'tributary.yaml:2:16: environment variable DATABASE_URL is not set',
    );
    const parse = (text: string) => () => parseConfig(text, { file: 'tributary.yaml', env: {} });
    expect(parse(smallest)).toThrow(
      expect.objectContaining({ hint: 'set it first: export DATABASE_URL=…' }),
    );
    expect(parse(`${smallest}unknown: 1\n`)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('correct ') as string }),
    );
  });

  test('a wrong value of the environment is shown by its name', () => {
    const message = failureOf(
      'source: { url: ${DATABASE_URL}, slot: ${WORD} }\nlog: { type: embedded }',
      {
        DATABASE_URL: 'mysql://app:s3cret@db/shop',
        WORD: 'S3cret-Slot',
      },
    );
    expect(message).not.toMatch(/s3cret/i);
    expect(message).toContain('"${WORD}" is not a slot name');
    expect(message).toContain('source.url: is not a PostgreSQL URL');
  });

  test('a file that is not there names itself and what to type', () => {
    const load = () => loadConfig(join(folder, 'missing.yaml'), {});
    expect(load).toThrow(`${join(folder, 'missing.yaml')} does not exist`);
  });

  test('a secret file that is not there names itself', () => {
    expect(() => parse('source: { url_file: ./nowhere }\nlog: { type: embedded }')).toThrow(
      `${resolve('nowhere')} does not exist`,
    );
  });
});

test('the checked-in reference is what the schema says', async () => {
  await expect(renderConfigReference()).toMatchFileSnapshot('../deploy/configuration.md');
});
