import path from 'node:path';
import pg from 'pg';
import { buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import { loadMapping } from '../../models/mapping-file.ts';
import { ensurePythonEnvironment } from '../../models/python-environment.ts';
import type { Config } from '../../runtime/config.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { configuredLake } from '../lakes/open-lake.ts';
import { openLogReader } from '../open-log.ts';
import { type EmbeddedPostgres, startPostgres } from '../stack/postgres.ts';
import { verifyLake, type VerifyReport } from '../verify/verify-lake.ts';
import { clusterFolder, emptyDemoFolder, demoLake, demoSink } from './folder.ts';
import { type Business, createBusiness } from './history.ts';
import {
  currentCut,
  initialise,
  type Pipeline,
  startPipeline,
  untilSnapshotIsDone,
  untilStreaming,
} from './pipeline.ts';
import { grouped, type Stages } from './stages.ts';
import { readLag, renderSummary } from './summary.ts';
import { runTraffic } from './traffic.ts';

export interface DemoOptions {
  readonly dir: string;
  readonly projectRoot: string;
  readonly seconds: number;
  readonly seed: number;
  readonly transactionsPerSecond: number;
  readonly stages: Stages;
  readonly signal: AbortSignal;
  /** Models are also built every minute, for a demo that stays. */
  readonly withModels: boolean;
}

export interface Demo extends AsyncDisposable {
  readonly url: string;
  readonly config: Config;
  readonly client: pg.Client;
  readonly business: Business;
  readonly report: VerifyReport;
  readonly summary: string;
  /** Rejects when capture or sink ended by itself. */
  readonly pipelineEnded: Promise<void>;
}

const database = 'business';

/**
 * The whole job on embedded parts: PostgreSQL, a sample business, snapshot and stream while traffic is
 * written, lake, models, verification. Disposing ends the processes and the server; files stay.
 */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const { dir, stages, signal } = options;
  const resources = new AsyncDisposableStack();
  try {
    // Its download takes longest, so it begins first.
    const python = ensurePythonEnvironment({
      projectRoot: options.projectRoot,
      engine: 'duckdb',
      signal,
    });
    python.catch(() => undefined);
    const server = await startServer(dir, stages);
    resources.adopt(server, (running) => running.stop());
    const url = server.url(database);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    resources.adopt(client, (open) => open.end());
    const business = await fillBusiness(client, options);
    const { config } = await stages.run('Configuration', () => configure(dir, url));
    const logFile = path.join(dir, 'tributary.log');
    const pipeline = startPipeline({ config, url, logFile, withModels: options.withModels });
    resources.adopt(pipeline, (running) => running.stop());
    const job = work({ ...options, config, client, business, pipeline, url, python });
    const { report, summary } = await Promise.race([job, pipeline.ended.then(() => job)]);
    const disposal = resources.move();
    return {
      url,
      config,
      client,
      business,
      report,
      summary,
      pipelineEnded: pipeline.ended,
      [Symbol.asyncDispose]: () => disposal.disposeAsync(),
    };
  } finally {
    await resources.disposeAsync();
  }
}

interface Work extends DemoOptions {
  readonly config: Config;
  readonly client: pg.Client;
  readonly business: Business;
  readonly pipeline: Pipeline;
  readonly url: string;
  readonly python: Promise<unknown>;
}

async function work(job: Work): Promise<{ report: VerifyReport; summary: string }> {
  const { stages } = job;
  await stages.run('Capture', async () => {
    await untilStreaming(job.client, job.config.source.slot);
    return { text: 'reads the tables in chunks and streams what changes meanwhile' };
  });
  const read = snapshotRead(job.config);
  await stages.run('Traffic', () => writeTraffic(job));
  await stages.run('Snapshot', async () => {
    const { rows, seconds } = await read;
    const rate = `${grouped(rows)} rows in ${seconds.toFixed(1)} s (${grouped(rows / seconds)}/s)`;
    return { text: `${rate}, in chunks beside the stream` };
  });
  await stages.run('Lake', () => catchUp(job));
  await stages.run('Python', async () => {
    await job.python;
    return { text: 'dbt is ready' };
  });
  await stages.run('Models', () => build(job));
  const report = await stages.run('Verification', () => verify(job));
  return { report, summary: await summarise(job) };
}

/** How much the snapshot read, and in what time: it ends while the traffic is written. */
async function snapshotRead(config: Config): Promise<{ rows: number; seconds: number }> {
  const startedAt = performance.now();
  const rows = await untilSnapshotIsDone(config);
  return { rows, seconds: (performance.now() - startedAt) / 1000 };
}

async function startServer(dir: string, stages: Stages): Promise<EmbeddedPostgres> {
  const { server } = await stages.run('PostgreSQL', async () => {
    await emptyDemoFolder(dir);
    const started = await startPostgres({ dir: clusterFolder(dir) });
    const client = new pg.Client({ connectionString: started.url() });
    await client.connect();
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    await client.query(`create database ${database}`);
    await client.end();
    return {
      server: started,
      text: `${rows[0]?.server_version} on port ${started.port}, wal_level logical`,
    };
  });
  return server;
}

async function fillBusiness(client: pg.Client, { stages, seed }: DemoOptions): Promise<Business> {
  const { business } = await stages.run('Sample business', async () => {
    const created = await createBusiness(client, { seed, nowMs: Date.now() });
    const { rows } = await client.query<{ tables: number }>(
      `select count(*)::int as tables from pg_tables where schemaname = 'public'`,
    );
    const text = `${grouped(created.book.changeCount)} rows in ${rows[0]?.tables} tables`;
    return { business: created, text };
  });
  return business;
}

async function configure(dir: string, url: string) {
  const { plan, config } = await initialise(dir, url);
  const kinds = Object.values(plan.mapping.tables).map(({ kind }) => kind);
  const events = kinds.filter((kind) => kind === 'event').length;
  return {
    config,
    text: `understood: master ${plan.mapping.master?.table}, ${events} event tables of ${kinds.length}`,
  };
}

async function writeTraffic({
  client,
  business,
  seconds,
  transactionsPerSecond,
  stages,
  signal,
  pipeline,
}: Work) {
  const startedAt = performance.now();
  const before = {
    changes: business.book.changeCount,
    transactions: business.book.transactions.length,
  };
  await runTraffic({
    client,
    business,
    seconds,
    transactionsPerSecond,
    signal,
    onTransaction: (_, changes) => {
      const lake = pipeline.says.get(demoSink);
      stages.progress({
        label: 'traffic',
        done: changes - before.changes,
        unit: 'changes',
        ...(lake === undefined ? {} : { note: `lake: ${lake}` }),
      });
    },
  });
  signal.throwIfAborted();
  const changes = business.book.changeCount - before.changes;
  const rate = (changes * 1000) / (performance.now() - startedAt);
  const transactions = business.book.transactions.length - before.transactions;
  return {
    text: `${grouped(changes)} changes in ${grouped(transactions)} transactions (${grouped(rate)}/s), a migration half-way`,
  };
}

/** Everything written so far is in the lake when the sink lends it. */
async function catchUp({ client, config, signal }: Work) {
  const settings = demoLake(config);
  const until = await currentCut(client, config);
  const lag = await configuredLake(demoSink, config).borrow(
    { purpose: 'demo', until, signal },
    async () => {
      await using lake = await openLakeReader(settings.path);
      return await readLag(lake);
    },
  );
  const text = `${grouped(lag.changes)} changes streamed; commit to lake ${grouped(lag.medianMs)} ms median, ${grouped(lag.p99Ms)} ms p99`;
  return { text };
}

async function build({ config, dir, projectRoot, signal, stages }: Work) {
  const settings = demoLake(config);
  const mapping = await loadMapping(path.join(dir, 'mapping.yaml'));
  const report = await configuredLake(demoSink, config).borrow({ purpose: 'models', signal }, () =>
    buildModels({
      projectRoot,
      lake: duckdbLake(settings.path),
      workDir: path.join(dir, 'models'),
      mapping,
      signal,
      onProgress: ({ done, total, message }) =>
        stages.progress({
          label: total === 0 ? message : 'models',
          done,
          ...(total === 0 ? {} : { total, note: message }),
          unit: 'models and tests',
        }),
    }),
  );
  requireGood(report);
  return { text: `${report.models.length} models and ${report.tests.length} tests, all good` };
}

async function verify({ config, url, stages, signal }: Work) {
  const log = await openLogReader(config);
  try {
    const report = await verifyLake({
      source: { url, publication: config.source.publication, wants: () => true },
      slot: config.source.slot,
      log,
      prefix: config.log.prefix,
      holdLake: configuredLake(demoSink, config).hold(signal),
      onTable: (done, total) =>
        stages.progress({ label: 'verification', done, total, unit: 'tables' }),
      signal,
    });
    const outcome =
      report.differences === 0 ? 'equal value for value' : `${report.differences} DIFFERENCES`;
    return {
      ...report,
      text: `${grouped(report.rows)} rows of ${report.tables.length} tables, ${outcome}, at LSN ${report.lsn}`,
    };
  } finally {
    await log.close();
  }
}

async function summarise({ config, signal }: Work): Promise<string> {
  const settings = demoLake(config);
  return await configuredLake(demoSink, config).borrow({ purpose: 'summary', signal }, async () => {
    await using lake = await openLakeReader(settings.path);
    return await renderSummary(lake);
  });
}
