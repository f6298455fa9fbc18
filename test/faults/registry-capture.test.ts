import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { formatLsn, parseLsn } from '../../schemas/lsn.ts';
import { eventually } from '../integration/capture-harness.ts';
import {
  type RegistryScene,
  type StartSettings,
  said,
  withRegistryScene,
  writeUntil,
} from '../integration/registry-harness.ts';
import { FakeRegistry } from '../support/fake-registry.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres[Symbol.asyncDispose]());

const setup = /* sql */ `
  create table items (id int primary key, note text);
  create table other (id int primary key, note text);
  insert into items select i, 'n' || i from generate_series(1, 500) i;
  insert into other select i, 'o' || i from generate_series(1, 50) i;`;

/** A column that no row has a default for breaks BACKWARD, and its values are another in each row. */
const breakItems = `alter table items add column tag inet not null default ('10.0.0.' || (random() * 200)::int)::inet`;

async function withScene(
  name: string,
  play: (scene: RegistryScene, fake: FakeRegistry) => Promise<void>,
  sql = setup,
): Promise<void> {
  await using fake = await FakeRegistry.start();
  const options = { postgres, name, setup: sql, registryUrl: fake.url };
  await withRegistryScene(options, (scene) => play(scene, fake));
}

async function expectEqual(
  scene: RegistryScene,
  tables = ['items', 'other'],
  deadLetters = 0,
): Promise<void> {
  for (const table of tables) {
    expect(scene.lakeRows(table)).toEqual(await scene.sourceRows(table));
  }
  expect(scene.lake.content.deadLetters).toHaveLength(deadLetters);
  for (const { changes } of scene.lake.content.tables.values()) {
    const positions = changes.map(({ change }) => change.seq);
    expect(positions).toEqual([...new Set(positions)].toSorted());
  }
}

test('records of another program at the end of a partition are dead letters; capture goes on before them', () =>
  withScene('strangers', async (scene) => {
    const first = await scene.start();
    await snapshotFinished(scene);
    await scene.load(first);
    await first.stop();
    const log = await openEmbeddedLog({ path: path.join(scene.bench.dir, 'log.db') });
    const stranger = { key: null, value: Buffer.from('{"id": 1}'), headers: [], timestampMs: 1 };
    const records = Array.from({ length: 300 }, () => stranger);
    await log.append([{ topic: 'app.public.items', partition: 1, records }]);
    await log.close();
    await scene.run(`update items set note = 'after it'; delete from items where id = 3`);
    const second = await scene.start();
    await scene.load(second);
    await expectEqual(scene, ['items', 'other'], 300);
    const [letter] = scene.lake.content.deadLetters;
    expect(letter).toMatchObject({
      topic: 'app.public.items',
      partition: 1,
      reason: 'the record has no tributary.seq header',
    });
    await second.stop();
  }));

/** Every row that was there is durable, so its schema is registered. */
const snapshotFinished = (scene: RegistryScene) =>
  eventually('the snapshot', async () => {
    const isRead = scene.bench.events.some(({ type }) => type === 'snapshot-finished');
    const tables = Object.values((await scene.progress())?.snapshot.tables ?? {});
    return isRead && tables.length > 0 && tables.every(({ done }) => done);
  });

/** It is in what is durable: until then that looks as it will when all is over. */
const parked = (scene: RegistryScene) =>
  eventually(
    'the parked table',
    async () => (await scene.progress())?.parked?.['public.items'] !== undefined,
  );

const confirmed = (scene: RegistryScene) =>
  scene.bench.events.findLast((event) => event.type === 'confirmed')?.lsn ?? 0n;

async function walEnd(scene: RegistryScene): Promise<bigint> {
  const { rows } = await scene.run('select pg_current_wal_insert_lsn()::text as lsn');
  return parseLsn((rows as { lsn: string }[])[0]?.lsn ?? '');
}

describe('a registry that is away', () => {
  test('at the first start: capture waits with a clear state, and goes on by itself', () =>
    withScene('away_first', async (scene, fake) => {
      await fake.down();
      const capture = await scene.start();
      await said(
        scene,
        /^the new schema of public\.\w+ waits: cannot reach the registry .*ECONNREFUSED; trying again in \d+ ms/,
      );
      expect(scene.bench.events.some(({ type }) => type === 'registry-waiting')).toBe(true);
      await fake.up();
      await said(scene, /^the registry is back: the schema of public\.\w+ is registered$/);
      await snapshotFinished(scene);
      await scene.load(capture);
      await expectEqual(scene);
      await capture.stop();
    }));

  test('in the middle: known tables go on, a new schema waits, and nothing is confirmed beyond it', () =>
    withScene('away_middle', async (scene, fake) => {
      const capture = await scene.start();
      await snapshotFinished(scene);
      await scene.load(capture);
      await fake.down();
      await scene.run(
        `update items set note = 'while it is down' where id < 10; delete from other where id = 7`,
      );
      await scene.load(capture);
      await expectEqual(scene);
      const before = await walEnd(scene);
      await scene.run(`alter table items add column size int; update items set size = id`);
      await scene.run(`insert into other values (1000, 'behind it')`);
      await said(scene, /^the new schema of public\.items waits/);
      const waits = scene.bench.events.filter(({ type }) => type === 'registry-waiting').length;
      await eventually(
        'three more tries',
        () =>
          scene.bench.events.filter(({ type }) => type === 'registry-waiting').length > waits + 2,
      );
      const stuckAt = confirmed(scene);
      expect(stuckAt).toBeLessThan(await walEnd(scene));
      expect(scene.lakeRows('other')).not.toContainEqual({ id: '1000', note: 'behind it' });
      await fake.up();
      await scene.load(capture);
      await eventually('the confirmation', () => confirmed(scene) > before);
      await expectEqual(scene);
      expect(formatLsn(confirmed(scene))).not.toBe(formatLsn(stuckAt));
      await capture.stop();
    }));

  test('a stop while a schema waits ends capture at once, and the next start takes what was left', () =>
    withScene('away_stop', async (scene, fake) => {
      const first = await scene.start();
      await snapshotFinished(scene);
      await fake.down();
      await scene.run(`alter table items add column size int; update items set size = id`);
      await said(scene, /^the new schema of public\.items waits/);
      const stoppedMs = performance.now();
      await first.stop();
      expect(performance.now() - stoppedMs).toBeLessThan(5_000);
      await fake.up();
      const second = await scene.start();
      await scene.load(second);
      await expectEqual(scene);
      await second.stop();
    }));

  test('known tables resume without a single request', () =>
    withScene('away_restart', async (scene, fake) => {
      const first = await scene.start();
      await snapshotFinished(scene);
      await scene.load(first);
      await first.stop();
      await scene.run(
        `update items set note = 'x' where id % 2 = 0; insert into other values (900, null)`,
      );
      const asked = fake.requests.length;
      await fake.down();
      const second = await scene.start();
      await scene.load(second);
      await expectEqual(scene);
      await second.stop();
      expect(fake.requests).toHaveLength(asked);
    }));

  test('one that lost its schemas, and counts from 1 again, is refused', () =>
    withScene('amnesia', async (scene, fake) => {
      const first = await scene.start();
      await snapshotFinished(scene);
      await first.stop();
      fake.subjects.clear();
      fake.texts.clear();
      await scene.run(`create table late (id int primary key); insert into late values (1)`);
      const second = await scene.start();
      await expect(second.ended).rejects.toMatchObject({
        kind: 'registry-refused',
        message: expect.stringMatching(
          /gave id \d to a schema of app\.public\.late, but records of app\.public\.\w+ have it already/,
        ),
      });
    }));
});

describe('a table that is parked', () => {
  const park: StartSettings = { incompatible: () => 'park' };

  test('is held back alone, through restarts; when the rule is relaxed it is read again, beside its writers', () =>
    withScene('parked', async (scene, fake) => {
      const first = await scene.start(park);
      await snapshotFinished(scene);
      await scene.load(first);
      const enough = new AbortController();
      const writer = writeUntil(scene.url, enough.signal, (number) => {
        const id = 1 + ((number * 37) % 500);
        return `insert into items values (${1000 + number}, 'w'); update items set note = 'u${number}' where id = ${id};
          delete from items where id = ${id + 1} and ${number % 3} = 0; update other set note = 'u${number}' where id = ${1 + (number % 50)};
          update items set id = -${number} - 1 where id = ${990 + number}`;
      });
      await scene.run(breakItems);
      await said(
        scene,
        /^public\.items is parked, its changes from position [0-9A-F/]+ on are not captured: .*The field "tag" has no default/,
      );
      await scene.run(`delete from items where id between 200 and 220`);
      await eventually(
        'the state in the progress record',
        async () => (await scene.progress())?.parked?.['public.items'],
      );
      await pause(200);
      await first.stop();
      const parkedRows = scene.bench.lines.length;
      const second = await scene.start(park);
      await pause(300);
      expect(scene.bench.lines.slice(parkedRows)).not.toContainEqual(
        expect.stringContaining('reading the parked table'),
      );
      expect(scene.bench.events.findLast((event) => event.type === 'parked')).toMatchObject({
        tables: 1,
      });
      fake.globalLevel = 'NONE';
      await said(
        scene,
        /^the registry takes the schema of public\.items: reading the parked table again$/,
      );
      await eventually(
        'the end of its state',
        () => scene.bench.events.findLast((event) => event.type === 'parked')?.tables === 0,
      );
      await pause(100);
      // In the middle of reading, or right after it: what is durable must do.
      await second.stop();
      const third = await scene.start(park);
      await eventually('all tables', async () => {
        const progress = await scene.progress();
        return (
          progress?.parked?.['public.items'] === undefined &&
          Object.values(progress?.snapshot.tables ?? {}).every(({ done }) => done)
        );
      });
      enough.abort();
      expect(await writer).toBeGreaterThan(10);
      await scene.load(third);
      await expectEqual(scene);
      expect(scene.lakeRows('items')[0]).toHaveProperty('tag');
      await third.stop();
    }));

  test('goes on at its next schema, when the registry takes that', () =>
    withScene('mended', async (scene) => {
      const capture = await scene.start(park);
      await snapshotFinished(scene);
      await scene.run(
        `${breakItems}; update items set note = 'lost?' where id < 100; delete from items where id > 450`,
      );
      await said(scene, /^public\.items is parked/);
      await parked(scene);
      await scene.run(
        `alter table items drop column tag; update items set note = 'later' where id = 1`,
      );
      await said(scene, /reading the parked table again/);
      await eventually(
        'the end of its state',
        () => scene.bench.events.findLast((event) => event.type === 'parked')?.tables === 0,
      );
      await eventually('all tables', async () =>
        Object.values((await scene.progress())?.snapshot.tables ?? {}).every(({ done }) => done),
      );
      await scene.load(capture);
      await expectEqual(scene);
      await capture.stop();
      expect(scene.alerts).toEqual([]);
    }));

  test('from the start, for a subject with a foreign schema; with evolve it is taken after all', () =>
    withScene('foreign', async (scene, fake) => {
      fake.put(
        'app.public.items-value',
        JSON.stringify({ type: 'record', name: 'Theirs', fields: [] }),
      );
      const first = await scene.start({
        incompatible: (table) => (table === 'public.items' ? 'park' : 'evolve'),
      });
      await said(
        scene,
        /^public\.items is parked, .*the subject holds schema Theirs, which another program registered/,
      );
      await scene.run(`delete from items where id > 100; update other set note = 'goes on'`);
      await scene.load(first);
      await expectEqual(scene, ['other']);
      expect(scene.lakeRows('items')).toEqual([]);
      await first.stop();
      const second = await scene.start({ incompatible: () => 'evolve' });
      await eventually('all tables', async () => {
        const { parked, snapshot } = (await scene.progress()) ?? {};
        return parked?.['public.items'] === undefined && snapshot?.tables['public.items']?.done;
      });
      await scene.load(second);
      await expectEqual(scene);
      expect(scene.alerts).toEqual([
        expect.stringContaining('schema Theirs, which another program'),
      ]);
      await second.stop();
    }));

  test('without a key is read again whole', () =>
    withScene(
      'parked_bag',
      async (scene, fake) => {
        const capture = await scene.start(park);
        await snapshotFinished(scene);
        await scene.run(
          `${breakItems}; insert into items values (1, 'n1'); delete from items where id = 3`,
        );
        await said(scene, /^public\.items is parked/);
        await parked(scene);
        await scene.run(`update items set note = 'twice' where id = 1`);
        fake.globalLevel = 'NONE';
        await eventually('all tables', async () => {
          const { parked, snapshot } = (await scene.progress()) ?? {};
          return parked?.['public.items'] === undefined && snapshot?.tables['public.items']?.done;
        });
        await scene.run(`insert into items values (1, 'n1')`);
        await scene.load(capture);
        await expectEqual(scene, ['items']);
        await capture.stop();
        expect(scene.alerts).toEqual([]);
      },
      `create table items (id int, note text); alter table items replica identity full;
       insert into items select i % 10, 'n' || i % 10 from generate_series(1, 50) i`,
    ));

  test('that is dropped is forgotten, and one of its name is taken from the first row', () =>
    withScene('parked_dropped', async (scene) => {
      const capture = await scene.start(park);
      await snapshotFinished(scene);
      await scene.run(`${breakItems}; update items set note = 'x' where id = 1`);
      await said(scene, /^public\.items is parked/);
      await scene.run(`drop table items`);
      await said(scene, /^parked table public\.items is captured no more/);
      await scene.run(
        `create table items (id int primary key, note text); insert into items values (5, 'anew')`,
      );
      await said(scene, /public\.items was added to publication/);
      await eventually('all tables', async () =>
        Object.values((await scene.progress())?.snapshot.tables ?? {}).every(({ done }) => done),
      );
      await scene.load(capture);
      expect(scene.lakeRows('items')).toContainEqual({ id: '5', note: 'anew' });
      await capture.stop();
    }));
});
