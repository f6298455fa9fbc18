import path from 'node:path';
import pg from 'pg';
import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { dropSlot } from '../../capture/postgres/slot.ts';
import type { CaptureOptions } from '../../capture/options.ts';
import { readProgress, type ProgressRecord } from '../../capture/progress.ts';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import { positionZero } from '../../schemas/position.ts';
import type { SchemaRegistry, WhenIncompatible } from '../../schemas/registry.ts';
import { MemoryLake } from '../../sinks/memory/client.ts';
import { MemorySink } from '../../sinks/memory/sink.ts';
import { runSink } from '../../sinks/run-sink.ts';
import type { TestPostgres } from '../support/postgres.ts';
import {
  type CaptureBench,
  eventually,
  openBench,
  prefix,
  type RunningCapture,
} from './capture-harness.ts';

export type Row = Readonly<Record<string, string | null>>;

/** A database captured into an embedded log with a registry of Confluent's kind, and a lake in memory. */
export interface RegistryScene {
  readonly bench: CaptureBench;
  readonly registry: SchemaRegistry;
  readonly alerts: readonly string[];
  readonly url: string;
  readonly run: (sql: string) => Promise<pg.QueryResult>;
  /** Starts a capture; with a registry opened anew, which knows nothing yet, unless that of the scene is kept. */
  readonly start: (settings?: StartSettings) => Promise<RunningCapture>;
  /** Everything committed until now is on the log, and loaded into the lake. */
  readonly load: (capture: RunningCapture) => Promise<void>;
  /** Rows of a table as text, sorted; in the lake and at the source. */
  readonly lakeRows: (table: string) => readonly Row[];
  readonly sourceRows: (table: string) => Promise<readonly Row[]>;
  readonly lake: MemoryLake;
  readonly progress: () => Promise<ProgressRecord | null>;
}

export interface StartSettings {
  readonly config?: Partial<ConfluentRegistryConfig>;
  readonly incompatible?: (table: string) => WhenIncompatible;
}

interface SceneOptions {
  readonly postgres: TestPostgres;
  readonly name: string;
  readonly setup: string;
  readonly registryUrl: string;
}

/** Opens the scene, plays, and leaves no slot, process or file behind. */
export async function withRegistryScene(
  { postgres, name, setup, registryUrl }: SceneOptions,
  play: (scene: RegistryScene) => Promise<void>,
): Promise<void> {
  const url = await postgres.createDatabase(name);
  await postgres.run(name, `${setup}; create publication tributary for all tables`);
  await using resources = new AsyncDisposableStack();
  const bench = resources.use(await openBench());
  const alerts: string[] = [];
  const open = async (config: Partial<ConfluentRegistryConfig> = {}) =>
    resources.adopt(
      await openConfluentRegistry({
        config: { ...defaults, url: registryUrl, ...config },
        onAlert: (message) => void alerts.push(message),
      }),
      (opened) => opened.close(),
    );
  const registry = await open();
  const lake = new MemoryLake();
  resources.defer(async () => {
    const session = await openSession({ url });
    await dropSlot(session, name);
    await closeSession(session);
  });
  const options = async ({ config, incompatible }: StartSettings): Promise<CaptureOptions> => ({
    ...bench.options({ url, slot: name }),
    registry: await open(config),
    limits: {
      ...bench.options({ url }).limits,
      parkedCheckMs: 100,
      reconnectDelayMs: 20,
      reconnectDelayMsMax: 100,
      giveUpAfterMs: 60_000,
    },
    spoolPath: path.join(bench.dir, 'spool'),
    ...(incompatible === undefined ? {} : { incompatible }),
  });
  const started = async (settings: StartSettings = {}) => {
    const capture = resources.use(bench.start(await options(settings)));
    // Whoever waits for a line is told that none comes any more.
    capture.ended.catch((error: unknown) => bench.lines.push(`capture ended: ${String(error)}`));
    return capture;
  };
  await play({
    bench,
    registry,
    alerts,
    url,
    lake,
    run: (sql) => postgres.run(name, sql),
    start: started,
    load: async (capture) => {
      await bench.caughtUp(postgres, capture);
      await loadAll({ bench, registry, lake });
    },
    lakeRows: (table) => lakeRows(lake, table),
    sourceRows: (table) => sourceRows(postgres, name, table),
    progress: () => readProgress(bench.log, prefix),
  });
}

const lastEventsMax = 20;

const defaults: Omit<ConfluentRegistryConfig, 'url'> = {
  type: 'confluent',
  compatibility: 'keep',
  incompatible: 'evolve',
  tables: {},
  timeout: 5_000,
};

/** Runs a sink up to the newest published watermark. */
async function loadAll({
  bench,
  registry,
  lake,
}: Pick<RegistryScene, 'bench' | 'registry' | 'lake'>): Promise<void> {
  const target = (await bench.watermarks()).findLast(({ publish }) => publish)?.cut ?? positionZero;
  const stop = new AbortController();
  const reached = () => (lake.content.checkpoint?.applied ?? positionZero) >= target;
  if (reached()) return;
  const { log } = bench;
  await runSink(
    {
      log,
      registry,
      prefix,
      wants: () => true,
      sink: new MemorySink(lake),
      observer: { onApplied: () => reached() && stop.abort() },
    },
    { signal: stop.signal },
  );
}

function lakeRows(lake: MemoryLake, table: string): readonly Row[] {
  const content = lake.content.tables.get(`public.${table}`);
  if (content === undefined) return [];
  const { columns } = content.version.table;
  return sorted(
    lake
      .rows(content.version)
      .map(({ image }) =>
        Object.fromEntries(columns.map(({ name }, at) => [name, textOf(image[at])])),
      ),
  );
}

async function sourceRows(
  postgres: TestPostgres,
  database: string,
  table: string,
): Promise<readonly Row[]> {
  const { rows } = await postgres.run(database, `select * from ${table}`);
  return sorted(
    (rows as Record<string, unknown>[]).map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, textOf(value)])),
    ),
  );
}

/** Text, integers and truth values alike on both sides; the tables of these tests need no more. */
function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === 'object' ? JSON.stringify(value) : `${value as string | bigint}`;
}

const sorted = (rows: readonly Row[]): readonly Row[] =>
  rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** Writes without end until the signal: `statement` is given the number of the write. */
export async function writeUntil(
  url: string,
  signal: AbortSignal,
  statement: (number: number) => string,
): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  // A failing test stops the server first: then it is what failed that counts.
  client.on('error', () => undefined);
  let writes = 0;
  try {
    for (; !signal.aborted; writes += 1) await client.query(statement(writes));
  } finally {
    await client.end().catch(() => undefined);
  }
  return writes;
}

/** Waits for a line of capture; the error has what was said instead. */
export async function said({ bench }: RegistryScene, pattern: RegExp): Promise<void> {
  await eventually(`a line like ${pattern}`, () =>
    bench.lines.some((line) => pattern.test(line)),
  ).catch((cause: unknown) => {
    const events = bench.events.slice(-lastEventsMax).map(({ type }) => type);
    throw new Error(`said ${JSON.stringify(bench.lines)}, last ${events.join(', ')}`, { cause });
  });
}
