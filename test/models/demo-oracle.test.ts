import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBusiness } from '../../commands/demo/history.ts';
import {
  currentCut,
  initialise,
  startPipeline,
  untilSnapshotIsDone,
} from '../../commands/demo/pipeline.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { demoLake } from '../../commands/demo/folder.ts';
import { configuredLake } from '../../commands/lakes/open-lake.ts';
import type { MappedTable, Mapping } from '../../models/mapping.ts';
import { type CommandLineResult, runCommandLine } from '../support/command-line.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { changesOf } from './book-record.ts';
import { correlationOf, edgeLines, eventNode, line } from './edge-oracle.ts';
import { readLakeRows } from './lake-history.ts';
import { featuresAsOf, fillImages, type Known, KnownWorld, momentOf } from './oracle.ts';

/*
 * The whole pipeline once: PostgreSQL, capture, sink, `models build`. Everything that is expected of the
 * models is computed from the generator's own record of what it wrote; nothing of it was read back.
 */

const dayMs = 86_400_000;
const seed = 20_260_301;
const lettersMax = 1_000;

interface Outcome {
  readonly dir: string;
  readonly lakePath: string;
  readonly mapping: Mapping;
  readonly filled: readonly Known[];
  readonly startedAtMs: number;
  readonly build: CommandLineResult;
}

async function runPipeline(dir: string): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const server = resources.use(await startTestPostgres());
  const url = await server.createDatabase('business');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  resources.defer(() => client.end());
  const startedAtMs = Date.now();
  const business = await createBusiness(client, { seed, nowMs: startedAtMs, scale: 0.3 });
  const { plan, config } = await initialise(dir, url);
  const logFile = path.join(dir, 'tributary.log');
  const pipeline = startPipeline({ config, url, logFile, withModels: false });
  resources.defer(() => pipeline.stop());
  // What commits while a table is read may come as a change, as a row that was read, or as both.
  await untilSnapshotIsDone(config);
  const readAtMs = Date.now();
  const { transactions } = business.book;
  const before = transactions.length;
  await runTraffic({ client, business, seconds: 4, transactionsPerSecond: 150 });
  const settings = demoLake(config);
  const until = await currentCut(client, config);
  await configuredLake('lake', config).borrow({ purpose: 'test', until }, async () => {});
  const words = ['models', 'build', '--json', '--config', path.join(dir, 'tributary.yaml')];
  const build = await runCommandLine(words, { env: { DATABASE_URL: url } });
  const record = {
    mapping: plan.mapping,
    before: transactions.slice(0, before),
    streamed: transactions.slice(before),
    readAtMs,
  };
  const filled = fillImages({ mapping: plan.mapping, changes: changesOf(record) });
  return { dir, lakePath: settings.path, mapping: plan.mapping, filled, startedAtMs, build };
}

describe("models beside the generator's own record", () => {
  let dir: string;
  let outcome: Outcome;
  const rows = (sql: string) => readLakeRows(outcome.lakePath, sql);
  const tableOf = (name: string): MappedTable => outcome.mapping.tables[`public.${name}`]!;
  const now = () => new KnownWorld(outcome.mapping, outcome.filled, Infinity);

  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-oracle-'));
    outcome = await runPipeline(dir);
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('`models build` is good, and says how many rows each model has', () => {
    expect(outcome.build.exit, outcome.build.stderr).toBe(0);
    const report = JSON.parse(outcome.build.stdout) as {
      isGood: boolean;
      models: { name: string; rows: number | null }[];
    };
    expect(report.isGood).toBe(true);
    const masters = outcome.filled.filter(({ table, op }) => table === 'master' && op !== 'd');
    const found = report.models.find(({ name }) => name === 'dim_masters');
    expect(found?.rows).toBe(new Set(masters.map(({ key }) => key)).size);
  });

  test('dim_masters has every master that ever was, with what belongs to it now', async () => {
    const found = await rows(/* sql */ `select * from analytics.dim_masters`);
    const actual = found.map((row) =>
      told(row, ['master_key', 'master_uuid', 'master_type', 'master_name', 'n_versions'], {
        gone: row['is_deleted'],
        rows: row['n_rows'],
        events: row['n_events'],
        services: row['services'],
      }),
    );
    const world = now();
    const owned = ownedRows(outcome, world);
    const subjects = Map.groupBy(
      world.events({ erased: true }),
      ({ masters }) => masters['subject'],
    );
    const histories = Map.groupBy(
      outcome.filled.filter(({ table }) => table === 'master'),
      ({ key }) => key,
    );
    const expected = [...histories].map(([key, changes]) => {
      const { image } = changes.at(-1)!;
      const versions = changes.filter(({ op }) => op !== 'd').length;
      const mine = owned.get(key);
      return told(
        {
          master_key: key,
          master_uuid: image['uuid'],
          master_type: image['type'],
          master_name: image['name'],
          n_versions: String(versions),
        },
        ['master_key', 'master_uuid', 'master_type', 'master_name', 'n_versions'],
        {
          gone: String(changes.at(-1)!.op === 'd'),
          rows: String(mine?.alive ?? 0),
          events: String(subjects.get(key)?.length ?? 0),
          services: mine === undefined ? null : [...mine.services].toSorted().join(','),
        },
      );
    });
    expectSame(actual, expected);
    expect(expected.filter((text) => text.includes('"gone":"true"')).length).toBeGreaterThan(1);
  });

  test('dim_masters_history has a version for each change, in order, open or closed', async () => {
    const columns = ['master_key', 'version_number', 'master_name', 'master_type', 'change_op'];
    const found = await rows(/* sql */ `select * from analytics.dim_masters_history`);
    const actual = found.map((row) =>
      told(row, columns, {
        changed: row['changed_columns']?.split(',').toSorted().join(',') ?? null,
        current: row['is_current'],
        deleted: row['is_ended_by_delete'],
        open: String(row['valid_to'] === null),
      }),
    );
    const histories = Map.groupBy(
      outcome.filled.filter(({ table }) => table === 'master'),
      ({ key }) => key,
    );
    const expected = [...histories.values()].flatMap((changes) =>
      changes.flatMap((change, index) => {
        if (change.op === 'd') return [];
        const next = changes[index + 1];
        const { image, key, op } = change;
        const version = {
          master_key: key,
          version_number: String(index + 1),
          master_name: image['name'] ?? null,
          master_type: image['type'] ?? null,
          change_op: op,
        };
        return [
          told(version, columns, {
            changed: op === 'u' ? changedColumns(changes[index - 1]!, change) : null,
            current: String(next === undefined),
            deleted: String(next?.op === 'd'),
            open: String(next === undefined),
          }),
        ];
      }),
    );
    expectSame(actual, expected);
    expect(expected.filter((text) => text.includes('"change_op":"u"')).length).toBeGreaterThan(3);
  });

  test('fct_events has every event of every table once, taken apart, erased ones marked', async () => {
    const found = await rows(/* sql */ `
      select *, epoch_us(occurred_at) as occurred_us from analytics.fct_events`);
    const actual = found.map((row) => {
      const source = row['source_table']!;
      const table = outcome.mapping.tables[source]!;
      return JSON.stringify({
        node: eventNode(source, table, row['event_id']!),
        type: row['event_type'],
        dialect: row['event_dialect'],
        service: row['event_service'],
        action: row['event_action'],
        version: row['event_version'],
        state: row['event_state'],
        correlation: row['correlation_id'],
        status: row['status'],
        payload: comparable(row['payload'] ?? null),
        entity: [row['entity_type'], row['entity_id']],
        hashes: [row['previous_hash'], row['entry_hash']],
        masters: [row['subject_master_key'], row['actor_master_key'], row['tenant_master_key']],
        at: row['occurred_us'],
        basis: row['availability_basis'],
        erased: row['is_deleted_at_source'],
      });
    });
    const expected = now()
      .events({ erased: true })
      .map((event) => {
        const table = tableOf(event.table);
        const { at, status, payload, entityType, entityId, previousHash, entryHash } = table.event!;
        const of = (column: string | null) => event.image[column ?? ''] ?? null;
        return JSON.stringify({
          node: eventNode(`public.${event.table}`, table, event.key),
          type: event.type,
          dialect: event.dialect,
          service: event.service,
          action: event.action,
          version: event.version,
          state: event.state,
          correlation: correlationOf(event),
          status: of(status),
          payload: comparable(of(payload)),
          entity: [of(entityType), of(entityId)],
          hashes: [of(previousHash), of(entryHash)],
          masters: ['subject', 'actor', 'tenant'].map((role) => event.masters[role] ?? null),
          at: String(Math.round(momentOf(of(at.column), at.as) * 1000)),
          basis: event.first.isAssumed ? 'assumed' : 'recorded',
          erased: String(event.isErased),
        });
      });
    expectSame(actual, expected);
    for (const claim of ['canonical', 'dotted', 'snake', 'other'])
      expect(expected.some((text) => text.includes(`"dialect":"${claim}"`))).toBe(true);
    const erased = expected.filter((text) => text.includes('"erased":"true"'));
    expect(erased.some((text) => text.includes('service_event'))).toBe(true);
    expect(erased.some((text) => text.includes('service_activity_trace'))).toBe(true);
  });

  test('bridge_event_masters has every role of every event with the way it was found', async () => {
    const found = await rows(/* sql */ `
      select e.source_table, e.event_id, b.role, b.master_key, b.method
      from analytics.bridge_event_masters as b inner join analytics.fct_events as e using (event_key)`);
    const actual = found.map((row) => {
      const table = outcome.mapping.tables[row['source_table']!]!;
      const node = eventNode(row['source_table']!, table, row['event_id']!);
      return `${node} ${row['role']} ${row['master_key']} ${row['method']}`;
    });
    const expected = now()
      .events({ erased: true })
      .flatMap((event) =>
        Object.entries(event.masters).map(([role, master]) => {
          const node = eventNode(`public.${event.table}`, tableOf(event.table), event.key);
          return `${node} ${role} ${master} ${role === 'subject' ? event.method : 'lookup'}`;
        }),
      );
    expectSame(actual, expected);
    for (const way of ['id', 'id_and_uuid', 'id_uuid_unknown', 'lookup'])
      expect(expected.some((text) => text.endsWith(` ${way}`))).toBe(true);
  });

  test('fct_entity_changes has every change of a row once, with its images and its master', async () => {
    const found = await rows(
      /* sql */ `select * from analytics.fct_entity_changes where op <> 't'`,
    );
    const actual = found.map((row) => {
      const image = JSON.parse(row['after_image'] ?? row['before_image'] ?? '{}') as Texts;
      return JSON.stringify({
        row: [row['source_table'], row['row_key'], row['op']],
        master: row['master_key'],
        changed: row['changed_columns']?.split(',').toSorted().join(',') ?? null,
        image: normalised(image),
      });
    });
    const world = now();
    const previous = new Map<string, Known>();
    const expected = outcome.filled.flatMap((change) => {
      const { table, key, op } = change;
      if (op === 't' || tableOf(table).kind === 'event') return [];
      const before = previous.get(`${table}/${key}`);
      previous.set(`${table}/${key}`, change);
      return [
        JSON.stringify({
          row: [`public.${table}`, key, op],
          master: world.ownerOf(change),
          changed: op === 'u' ? changedColumns(before!, change) : null,
          image: normalised(shownImage(change, tableOf(table))),
        }),
      ];
    });
    expectSame(actual, expected);
    const truncates = await rows(/* sql */ `
      select source_table from analytics.fct_entity_changes where op = 't'`);
    expect(truncates).toEqual([{ source_table: 'public.service_session_cache' }]);
  });

  test('lineage has exactly the edges that the rows tell, and knows which have ended', async () => {
    const found = await rows(/* sql */ `
      select edge_type, from_node_id, to_node_id, valid_to is not null as is_ended
      from analytics.fct_lineage_edges`);
    const events = await rows(/* sql */ `
      select 'event:' || event_key as node, source_table, event_id from analytics.fct_events`);
    const names = new Map(
      events.map((row) => {
        const table = outcome.mapping.tables[row['source_table']!]!;
        return [row['node']!, eventNode(row['source_table']!, table, row['event_id']!)];
      }),
    );
    const named = (node: string) => names.get(node) ?? node;
    const actual = found.map((row) => {
      const ends = [named(row['from_node_id']!), named(row['to_node_id']!)] as const;
      return line(row['edge_type']!, ends, row['is_ended'] === 'true');
    });
    const expected = edgeLines(outcome.mapping, outcome.filled);
    expectSame(actual, expected);
    const counts = Map.groupBy(expected, (text) => text.split(' ')[0]!);
    expect([...counts.keys()].toSorted()).toEqual([
      'acted_by',
      'correlates',
      'hash_prev',
      'progresses',
      'references',
      'referred',
      'registers',
      'same_tx',
      'scoped_to',
      'soft_ref',
      'subject_of',
    ]);
  });

  test('the timeline of a deleted master has its whole life', async () => {
    const gone = outcome.filled.filter(({ table, op }) => table === 'master' && op === 'd');
    expect(gone.length).toBeGreaterThan(1);
    const keys = new Set(gone.map(({ key }) => key));
    const found = await rows(/* sql */ `
      select * from analytics.fct_master_timeline
      where master_key in (${[...keys].map((key) => `'${key}'`).join(', ')})`);
    const actual = found.map((row) => {
      const isKeyless = outcome.mapping.tables[row['source_table']!]!.key.length === 0;
      const key = isKeyless ? '' : row['row_key'];
      return [row['master_key'], row['kind'], row['role'], row['source_table'], key].join(' ');
    });
    const world = now();
    const told = world.events({ erased: true }).flatMap((event) =>
      Object.entries(event.masters).flatMap(([role, master]) => {
        const key = tableOf(event.table).key.length === 0 ? '' : event.key;
        const kinds = event.isErased ? ['event', 'event_erased'] : ['event'];
        return kinds.map((kind) => [master, kind, role, `public.${event.table}`, key].join(' '));
      }),
    );
    const changed = outcome.filled
      .filter(({ table, op }) => op !== 't' && tableOf(table).kind !== 'event')
      .map((change) => {
        const master = world.ownerOf(change);
        return [master, 'row_change', 'owner', `public.${change.table}`, change.key].join(' ');
      });
    expectSame(
      actual,
      [...told, ...changed].filter((text) => keys.has(text.split(' ')[0]!)),
    );
  });

  test('features of closed days equal what was known at each midnight, for every master and role', async () => {
    const found = await rows(/* sql */ `
      select *, epoch_ms(as_of) as as_of_ms from analytics.feat_master_activity_daily`);
    const last = Math.max(...found.map((row) => Number(row['as_of_ms'])));
    const midnight = Math.floor(outcome.startedAtMs / dayMs) * dayMs;
    expect([midnight - dayMs, midnight, midnight + dayMs]).toContain(last);
    // What the traffic wrote is of the day that is not closed, unless it ran into midnight.
    const until = Math.min(last, midnight);
    const input = { mapping: outcome.mapping, changes: outcome.filled };
    const expected: string[] = [];
    let names: readonly string[] = [];
    for (let asOf = last - 29 * dayMs; asOf <= until; asOf += dayMs) {
      for (const [group, values] of featuresAsOf(input, outcome.filled, asOf)) {
        names = Object.keys(values);
        expected.push(`${asOf} ${group} ${JSON.stringify(values)}`);
      }
    }
    const actual = found
      .filter((row) => Number(row['as_of_ms']) <= until)
      .map((row) => {
        const values = names.map((name) => [name, featureValue(row[name] ?? null)]);
        const group = `${row['master_key']}|${row['role']}`;
        return `${row['as_of_ms']} ${group} ${JSON.stringify(Object.fromEntries(values))}`;
      });
    expectSame(actual, expected);
    expect(new Set(found.map((row) => row['role']))).toEqual(
      new Set(['subject', 'actor', 'tenant']),
    );
  });
});

type Texts = Readonly<Record<string, string | null | undefined>>;

function told(row: Texts, columns: readonly string[], more: Texts): string {
  const values = columns.map((column) => [column, row[column] ?? null]);
  return JSON.stringify({ ...Object.fromEntries(values), ...more });
}

/** Both lists have the same lines, each as often; a difference shows the first few on either side. */
function expectSame(actual: readonly string[], expected: readonly string[]): void {
  const counts = new Map<string, number>();
  for (const text of expected) counts.set(text, (counts.get(text) ?? 0) + 1);
  const tooMany: string[] = [];
  for (const text of actual) {
    const left = counts.get(text) ?? 0;
    if (left === 0) tooMany.push(text);
    counts.set(text, left - 1);
  }
  const missing = [...counts].flatMap(([text, left]) => (left > 0 ? [text] : []));
  const shown = (lines: readonly string[]) => lines.toSorted().slice(0, 5);
  expect({ missing: shown(missing), tooMany: shown(tooMany), count: actual.length }).toEqual({
    missing: [],
    tooMany: [],
    count: expected.length,
  });
  expect(expected.length).toBeGreaterThan(0);
}

/** Rows that are there now, and services that ever had one, by master. */
function ownedRows({ mapping, filled }: Outcome, world: KnownWorld) {
  const owned = new Map<string, { alive: number; services: Set<string> }>();
  const last = new Map<string, Known>();
  for (const change of filled) {
    const { kind, service } = mapping.tables[`public.${change.table}`]!;
    if (kind !== 'entity') continue;
    if (change.op === 't') {
      for (const [place, known] of last) if (known.table === change.table) last.delete(place);
      continue;
    }
    last.set(`${change.table}/${change.key}`, change);
    const master = world.ownerOf(change);
    if (master === null) continue;
    const mine = owned.get(master) ?? { alive: 0, services: new Set() };
    owned.set(master, mine);
    mine.services.add(service);
  }
  for (const change of last.values()) {
    const mine = change.op === 'd' ? undefined : owned.get(world.ownerOf(change) ?? '');
    if (mine !== undefined) mine.alive += 1;
  }
  return owned;
}

const later: Texts = { channel: 'web', gift_note: null };

/** A row as its image shows it: masked columns hashed, denied ones absent, long values by length and hash. */
function shownImage({ table, image }: Known, { masked, denied }: MappedTable): Texts {
  // Columns that came with the migration read as their default in rows that are older.
  const whole = table === 'service_commerce_order' ? { ...later, ...image } : image;
  const shown = Object.entries(whole).flatMap(([column, text]) => {
    if (denied.includes(column)) return [];
    if (masked.includes(column) && text !== null && text !== undefined)
      return [[column, sha256(text)]];
    const isLong = (text?.length ?? 0) > lettersMax;
    return [[column, isLong ? `<${text!.length} letters, sha256 ${sha256(text!)}>` : text]];
  });
  return Object.fromEntries(shown) as Texts;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

function changedColumns(before: Known, after: Known): string {
  return Object.keys({ ...before.image, ...after.image })
    .filter((column) => (before.image[column] ?? null) !== (after.image[column] ?? null))
    .toSorted()
    .join(',');
}

function normalised(image: Texts): readonly (readonly [string, unknown])[] {
  return Object.entries(image)
    .map(([column, text]) => [column, comparable(text ?? null)] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** One form for the spellings that the two engines have of moments, numbers, bytes and JSON. */
function comparable(text: string | null): unknown {
  if (text === null) return null;
  if (/^\d{4}-\d\d-\d\d[ T]\d\d:\d\d/.test(text))
    return Math.round(
      momentOf(text.replace(/([^Z])$/, '$1Z').replace(/(\.\d+)Z$/, padded), '') * 1000,
    );
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (text.startsWith('\\x')) return text.slice(2);
  if (!/^[[{]/.test(text)) return text;
  try {
    return sorted(JSON.parse(text));
  } catch {
    return text;
  }
}

const padded = (_: string, fraction: string) => `${fraction.padEnd(7, '0')}Z`;

function sorted(value: unknown): unknown {
  if (typeof value === 'string') return /^-?\d+\.\d+$/.test(value) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, inner]) => [name, sorted(inner)] as const);
  return Object.fromEntries(members.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function featureValue(value: string | null): string | number | boolean | null {
  if (value === null) return null;
  if (value === 'true' || value === 'false') return value === 'true';
  return Math.round(Number(value) * 1e4) / 1e4;
}
