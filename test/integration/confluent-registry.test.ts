import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningRegistry, startRegistry } from '../../commands/stack/registry.ts';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { eventually } from './capture-harness.ts';
import { type RegistryScene, said, withRegistryScene, writeUntil } from './registry-harness.ts';

let dir = '';
let server: RunningRegistry;
let postgres: TestPostgres;
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-registry-'));
  [server, postgres] = await Promise.all([
    // So that it knows its schemas after it was killed.
    startRegistry({ dir: path.join(dir, 'registry'), isDurable: true }),
    startTestPostgres(),
  ]);
});
afterAll(async () => {
  await Promise.all([server[Symbol.asyncDispose](), postgres[Symbol.asyncDispose]()]);
  await rm(dir, { recursive: true, force: true });
});

const record = (name: string, ...fields: readonly object[]): string =>
  JSON.stringify({ type: 'record', name: 'Envelope', namespace: name, fields }, null, 2);
const id = { name: 'id', type: 'int' };
const note = { name: 'note', type: ['null', 'string'], default: null };
const size = { name: 'size', type: 'long' };

async function withRegistry(
  config: Partial<ConfluentRegistryConfig>,
  use: (registry: SchemaRegistry, alerts: readonly string[]) => Promise<void>,
): Promise<void> {
  const alerts: string[] = [];
  const registry = await openConfluentRegistry({
    config: {
      type: 'confluent',
      url: server.url,
      compatibility: 'keep',
      incompatible: 'evolve',
      tables: {},
      timeout: 20_000,
      ...config,
    },
    onAlert: (message) => void alerts.push(message),
  });
  try {
    await use(registry, alerts);
  } finally {
    await registry.close();
  }
}

async function ask(asked: string, init: RequestInit = {}): Promise<unknown> {
  const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' };
  const response = await fetch(`${server.url}${asked}`, { headers, ...init });
  return await response.json();
}

const globalLevel = (compatibility: string) =>
  ask('/config', { method: 'PUT', body: JSON.stringify({ compatibility }) });

describe('Apicurio with the interface of Confluent', () => {
  test('gives one text one id, also after a restart of ours, and gives it back with the same meaning', async () => {
    const text = record('ids', id, note);
    let first = 0;
    await withRegistry({}, async (registry) => {
      first = await registry.register('ids-value', text);
      expect(await registry.register('ids-value', text)).toBe(first);
      expect(await registry.register('other-value', text)).toBe(first);
      expect(await registry.register('ids-value', record('ids', id, note, size))).not.toBe(first);
    });
    await withRegistry({}, async (registry) => {
      expect(await registry.register('ids-value', text)).toBe(first);
    });
    await withRegistry({}, async (registry) => {
      // The server may keep it without our line breaks: what it says must be the same.
      expect(JSON.parse(await registry.schemaText(first))).toEqual(JSON.parse(text));
      await expect(registry.schemaText(987_654)).rejects.toMatchObject({ kind: 'schema-unknown' });
    });
  });

  test('holds our level for our subjects; what breaks it is parked, or registered with an alert', () =>
    withRegistry({ compatibility: 'backward' }, async (registry, alerts) => {
      const subject = 'levels-value';
      await registry.register(subject, record('levels', id));
      expect(await ask(`/config/${subject}`)).toMatchObject({ compatibilityLevel: 'BACKWARD' });
      await registry.register(subject, record('levels', id, note));
      const broken = record('levels', id, note, size);
      await expect(registry.register(subject, broken, 'park')).rejects.toMatchObject({
        kind: 'schema-incompatible',
      });
      expect(alerts).toEqual([]);
      const forced = await registry.register(subject, broken, 'evolve');
      expect(JSON.parse(await registry.schemaText(forced))).toEqual(JSON.parse(broken));
      expect(await ask(`/config/${subject}`)).toMatchObject({ compatibilityLevel: 'BACKWARD' });
      expect(alerts).toEqual([
        expect.stringMatching(
          /^the new schema of levels-value is not compatible: rule BACKWARD.*registered all the same, as schema \d+$/,
        ),
      ]);
    }));

  test('with a rule for all subjects, lifting it for one leaves it in force', async () => {
    await globalLevel('BACKWARD');
    try {
      await withRegistry({}, async (registry, alerts) => {
        const subject = 'inherited-value';
        await registry.register(subject, record('inherited', id));
        await registry.register(subject, record('inherited', id, size));
        expect(alerts).toHaveLength(1);
        const next = record('inherited', id, size, { ...size, name: 'width' });
        await expect(registry.register(subject, next, 'park')).rejects.toMatchObject({
          kind: 'schema-incompatible',
        });
        expect(await ask(`/config/${subject}?defaultToGlobal=true`)).toMatchObject({
          compatibilityLevel: 'BACKWARD',
        });
      });
    } finally {
      await globalLevel('NONE');
    }
  });

  test('takes a change of the key, which breaks every rule', () =>
    withRegistry({ compatibility: 'full_transitive' }, async (registry, alerts) => {
      await registry.register('keys-key', record('keys', id));
      await registry.register('keys-key', record('keys', size));
      await registry.register('keys-key', record('keys', id, { ...size, name: 'width' }));
      expect(alerts).toHaveLength(2);
    }));

  test('a subject with the schema of another program is told from ours', () =>
    withRegistry({}, async (registry) => {
      await registry.register('shared-value', record('theirs', id));
      await expect(registry.register('shared-value', record('ours', id), 'park')).rejects.toThrow(
        'the subject holds schema theirs.Envelope, which another program registered',
      );
      expect(await registry.register('shared-value', record('ours', id))).toBeGreaterThan(0);
    }));

  test('what is no Avro is rejected; an address beside the interface is no registry', async () => {
    await withRegistry({}, (registry) =>
      expect(registry.register('bad-value', '{"type":"nope"}')).rejects.toMatchObject({
        kind: 'schema-rejected',
      }),
    );
    await withRegistry({ url: new URL('/', server.url).href }, (registry) =>
      expect(registry.schemaText(1)).rejects.toMatchObject({
        kind: 'registry-refused',
        message: expect.stringContaining('is no schema registry'),
      }),
    );
  });
});

const setup = /* sql */ `
  create type mood as enum ('sad', 'ok');
  create table items (id int primary key, note text default 'none', feeling mood, price numeric(10,2), at timestamptz);
  create table other (a int, b text, primary key (b, a));
  insert into items select i, 'n' || i, 'ok', i / 4.0, null from generate_series(1, 300) i;
  insert into other select i, 'o' from generate_series(1, 50) i;`;

const migrations = [
  `alter table items add column size int not null default 7; update items set size = id where id < 50`,
  `alter table items drop column note; update items set size = 1 where id = 2`,
  `alter type mood add value 'glad'`,
  `update items set feeling = 'glad' where id % 5 = 0`,
  // Breaks BACKWARD, and every other rule.
  `alter table items add column home inet not null default ('10.0.0.' || (random() * 200)::int)::inet`,
  `alter table items alter column size type bigint; update items set size = 5000000000 where id = 9`,
  `alter table other drop constraint other_pkey; alter table other add primary key (a); update other set b = 'key' where a = 3`,
  `insert into items (id, feeling) select i, 'sad' from generate_series(301, 320) i; delete from items where id % 11 = 0`,
];

async function allRead(scene: RegistryScene): Promise<void> {
  await eventually('all tables', async () => {
    const { snapshot, parked = {} } = (await scene.progress()) ?? {};
    const states = Object.values(snapshot?.tables ?? {});
    return (
      states.length > 0 && states.every(({ done }) => done) && Object.keys(parked).length === 0
    );
  });
}

async function expectEqual(scene: RegistryScene): Promise<void> {
  for (const table of ['items', 'other']) {
    const columns = scene.lakeRows(table)[0] ?? {};
    // Times have another text in the lake.
    const text = Object.keys(columns).filter((name) => name !== 'at' && name !== 'price');
    const pick = (rows: readonly Readonly<Record<string, string | null>>[]) =>
      rows.map((row) => JSON.stringify(text.map((name) => row[name]))).toSorted();
    expect(pick(scene.lakeRows(table))).toEqual(pick(await scene.sourceRows(table)));
    expect(scene.lakeRows(table)).not.toHaveLength(0);
  }
  expect(scene.lake.content.deadLetters).toEqual([]);
}

describe('capture and sink beside it', () => {
  test('tables change in every way: every schema is registered, the lake follows', () =>
    withRegistryScene(
      { postgres, name: 'evolving', setup, registryUrl: server.url },
      async (scene) => {
        const config = { compatibility: 'backward' } as const;
        const capture = await scene.start({ config });
        await allRead(scene);
        for (const migration of migrations) {
          await scene.run(migration);
          await scene.load(capture);
        }
        await allRead(scene);
        await scene.load(capture);
        await expectEqual(scene);
        expect(scene.alerts.some((alert) => alert.includes('app.public.items-value'))).toBe(true);
        expect(await ask('/subjects/app.public.other-key/versions')).toEqual([1, 2]);
        await capture.stop();
      },
    ));

  test('it is killed while a table is altered: known tables go on, the new schema waits until it is back', () =>
    withRegistryScene(
      { postgres, name: 'killed', setup, registryUrl: server.url },
      async (scene) => {
        const config = { timeout: 2_000 } as const;
        const capture = await scene.start({ config });
        await allRead(scene);
        await scene.load(capture);
        const enough = new AbortController();
        const writer = writeUntil(
          scene.url,
          enough.signal,
          (number) =>
            `update items set note = 'w${number}' where id = ${1 + (number % 300)}; insert into other values (${1000 + number}, 'w')`,
        );
        const port = Number(new URL(server.url).port);
        await server.kill();
        await scene.load(capture);
        await scene.run(`alter table items add column extra text default 'x'`);
        await said(scene, /^the new schema of public\.items waits: cannot reach the registry/);
        server = await startRegistry({ dir: path.join(dir, 'registry'), isDurable: true, port });
        await said(scene, /^the registry is back: the schema of public\.items is registered/);
        enough.abort();
        expect(await writer).toBeGreaterThan(0);
        await scene.load(capture);
        await expectEqual(scene);
        await capture.stop();
      },
    ));
});
