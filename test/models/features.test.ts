import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuildModelsOptions, buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import { type PlainChange, readLakeRows, writeLake } from './lake-history.ts';
import { featuresAsOf, fillImages, KnownWorld, type OracleFeatures } from './oracle.ts';
import { randomHistory } from './random-history.ts';
import { sampleMapping, sampleTables } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const dayMs = 86_400_000;
const features = /* sql */ `select * from analytics.feat_master_activity_daily order by as_of, master_key, role`;

describe('feature rows', () => {
  let dir: string;
  const { history, startAt } = randomHistory(11);
  const input = { mapping: sampleMapping, changes: history.changes };
  const lastAt = history.changes.at(-1)!.committedAt!;

  // Always one path and one work folder, so that dbt parses the project once.
  const lakePath = () => path.join(dir, 'lake.duckdb');
  const write = (changes: readonly PlainChange[], watermarkAt: Date) =>
    writeLake(lakePath(), { tables: sampleTables, changes, watermarkAt });
  const build = async (
    given: Pick<BuildModelsOptions, 'select' | 'skipTests' | 'fullRefresh'> & {
      root?: string;
    } = {},
  ) => {
    const { root = projectRoot, ...options } = given;
    const report = await buildModels({
      projectRoot: root,
      lake: duckdbLake(lakePath()),
      mapping: sampleMapping,
      workDir: path.join(dir, 'work'),
      vars: { feature_days_max: 90 },
      ...options,
    });
    requireGood(report);
  };
  const keepAs = (name: string) => rename(lakePath(), path.join(dir, `${name}.duckdb`));
  const featuresOf = (name: string, sql = features) =>
    readLakeRows(path.join(dir, `${name}.duckdb`), sql);

  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-models-'));
    await write(history.changes, lastAt);
    await build();
    await keepAs('once');
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('equal an oracle that replays what was known at each midnight', async () => {
    const rows = await featuresOf('once');
    const filled = fillImages(input);
    const closed = Math.floor((lastAt.getTime() - 60_000) / dayMs) * dayMs;
    const expected: Record<string, OracleFeatures> = {};
    const actual: Record<string, OracleFeatures> = {};
    for (let asOf = startAt - 25 * dayMs; asOf <= closed; asOf += dayMs) {
      for (const [group, values] of featuresAsOf(input, filled, asOf)) {
        expected[`${new Date(asOf).toISOString().slice(0, 10)} ${group}`] = values;
      }
    }
    const names = Object.keys(Object.values(expected)[0]!);
    for (const row of rows) {
      const group = `${row['as_of']!.slice(0, 10)} ${row['master_key']}|${row['role']}`;
      actual[group] = Object.fromEntries(
        names.map((name) => [name, comparable(row[name] ?? null)]),
      );
    }
    expect(Object.keys(actual).length).toBeGreaterThan(200);
    expect(actual).toEqual(expected);
  });

  test('the bridge equals the oracle, erased events included', async () => {
    const rows = await readLakeRows(
      path.join(dir, 'once.duckdb'),
      /* sql */ `select e.source_table, e.event_id, b.role, b.master_key
        from analytics.bridge_event_masters as b inner join analytics.fct_events as e using (event_key)`,
    );
    const world = new KnownWorld(sampleMapping, fillImages(input), Infinity);
    const expected = world
      .events({ erased: true })
      .flatMap((event) =>
        Object.entries(event.masters).map(
          ([role, master]) => `${event.table} ${event.key} ${role} ${master}`,
        ),
      );
    const actual = rows.map(
      (row) =>
        `${row['source_table']!.slice(7)} ${row['event_id']} ${row['role']} ${row['master_key']}`,
    );
    expect(actual.toSorted()).toEqual(expected.toSorted());
  });

  test('are the same when built day by day as when built once from the full log', async () => {
    const cuts = [4, 9].map((days) => startAt + days * dayMs + 5 * 3_600_000);
    let rest: readonly PlainChange[] = history.changes;
    for (const cut of [...cuts, Infinity]) {
      const due = rest.filter((change) => (change.committedAt?.getTime() ?? 0) <= cut);
      rest = rest.slice(due.length);
      await write(due, due.at(-1)!.committedAt!);
      await build({ skipTests: true });
    }
    await keepAs('daily');
    expect(await featuresOf('daily')).toEqual(await featuresOf('once'));
  });

  describe('are not touched by what came after', () => {
    const asOf = startAt + 6 * dayMs;
    const cut = history.changes.findIndex((change) => (change.committedAt?.getTime() ?? 0) > asOf);
    const until = (day: number) =>
      features.replace(
        'order by',
        `where as_of <= '${new Date(day).toISOString().slice(0, 10)}' order by`,
      );
    const past = history.changes.slice(0, cut);
    // Known before the midnight and happening after it, and happening before it and known after.
    const leaks = [
      leak(past.at(-1)!, { id: '1', known: asOf - 60_000, occurred: asOf + 1 }),
      leak(past.at(-1)!, { id: '2', known: asOf + 1, occurred: asOf - 60_000 }),
    ];
    const watermarkAt = new Date(asOf + 2 * 3_600_000);
    let clean: readonly Record<string, string | null>[];

    beforeAll(async () => {
      await write(past, watermarkAt);
      await build({ skipTests: true });
      await keepAs('clean');
      clean = await featuresOf('clean', until(asOf));
      await write([...past, ...leaks], watermarkAt);
      await build({ skipTests: true });
      await cp(lakePath(), path.join(dir, 'leaky.duckdb'));
    });

    test('an event that happens or becomes known after an as-of time changes nothing', async () => {
      expect(clean.length).toBeGreaterThan(50);
      expect(await featuresOf('leaky', until(asOf))).toEqual(clean);
    });

    test.each([
      ['the clock of the world', 'on tiles.occurred_day < days.as_of\n', 'on true\n'],
      ['the clock of knowledge', 'and tiles.counts_from <= days.as_of\n', '\n'],
    ])(
      'and that would be noticed if the model ignored %s',
      async (name, condition, replacement) => {
        const root = path.join(dir, `mutant-${name.at(-1)}${condition.length}`);
        await mkdir(root, { recursive: true });
        await cp(path.join(projectRoot, 'dbt'), path.join(root, 'dbt'), { recursive: true });
        const model = path.join(root, 'dbt/models/marts/features/feat_master_activity_daily.sql');
        const sql = await readFile(model, 'utf8');
        expect(sql).toContain(condition);
        await writeFile(model, sql.replace(condition, replacement));
        await symlink(path.join(projectRoot, '.cache'), path.join(root, '.cache'));
        await build({
          root,
          select: 'feat_master_activity_daily',
          skipTests: true,
          fullRefresh: true,
        });
        expect(await featuresOf('lake', until(asOf))).not.toEqual(clean);
      },
    );
  });
});

/** An event of master 1 as its own transaction after all others. */
function leak(
  last: PlainChange,
  given: { id: string; known: number; occurred: number },
): PlainChange {
  const committedAt = new Date(given.known);
  const row = {
    id: `00000000-0000-4000-8000-99999999999${given.id}`,
    master_id: '1',
    event_type: 'leak.seen',
    occurred_at: new Date(given.occurred).toISOString().replace('T', ' ').replace('Z', '+00'),
  };
  const seq = `${last.seq.slice(0, 5)}${(0xffff00 + Number(given.id)).toString(16).toUpperCase().padStart(16, '0')}/00000001/0`;
  return {
    table: 'events',
    op: 'c',
    seq,
    row,
    unchanged: [],
    xid: 9999,
    committedAt,
    capturedAt: committedAt,
  };
}

function comparable(value: string | null): string | number | boolean | null {
  if (value === null) return null;
  if (value === 'true' || value === 'false') return value === 'true';
  return Math.round(Number(value) * 1e4) / 1e4;
}
