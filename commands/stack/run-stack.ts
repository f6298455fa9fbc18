import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { PipelineError } from '../../runtime/errors.ts';
import type { Stages } from '../demo/stages.ts';
import { type KafkaCluster, startKafka } from './kafka.ts';
import { kafkaVersion, registryVersion } from './jars.ts';
import { freePorts } from './ports.ts';
import { type EmbeddedPostgres, startPostgres } from './postgres.ts';
import { type RunningRegistry, startRegistry } from './registry.ts';
import { commandLineOf } from './server-process.ts';
import { renderStackConfiguration, type StackAddresses } from './stack-configuration.ts';

export interface StackOptions {
  /** Keeps everything; a folder that is there is started again. */
  readonly dir: string;
  readonly brokers: number;
  readonly stages: Stages;
  /** Told about downloads, which happen once. */
  readonly onProgress: (message: string) => void;
  readonly signal: AbortSignal;
}

/** Running servers. Disposing stops them; the folder stays. */
export interface Stack extends StackAddresses, AsyncDisposable {
  readonly configurationFile: string;
  /** Rejects with `setup-failed` when a server ends by itself. */
  readonly broken: Promise<never>;
}

const database = 'app';
/** Later tables of the schema are in it by themselves. */
export const publicationSql = 'create publication tributary for tables in schema public';

/**
 * Starts PostgreSQL, Kafka and a schema registry on loopback, side by side, and writes the configuration
 * that goes with them unless there is one. Throws `setup-failed`, or what aborted the signal.
 */
export async function runStack(options: StackOptions): Promise<Stack> {
  const { dir, stages } = options;
  const resources = new AsyncDisposableStack();
  try {
    await mkdir(dir, { recursive: true });
    resources.use(await lockFolder(dir));
    const starting = await startServers(options, resources);
    const postgres = await stages.run('PostgreSQL', () => showPostgres(starting.postgres));
    const kafka = await stages.run('Kafka', () => showKafka(starting.kafka));
    const registry = await stages.run('Schema registry', () => showRegistry(starting.registry));
    const addresses = {
      sourceUrl: postgres.server.url(database),
      brokers: kafka.server.brokers,
      registryUrl: registry.server.url,
    };
    const configurationFile = path.join(dir, 'tributary.yaml');
    await stages.run('Configuration', () => configure(configurationFile, addresses));
    options.signal.throwIfAborted();
    const broken = firstToEnd({
      PostgreSQL: postgres.server.ended.then(() => ''),
      ...Object.fromEntries(
        kafka.server.brokers.map((broker, index) => [
          `Kafka at ${broker}`,
          kafka.server.node(index).ended(),
        ]),
      ),
      'the schema registry': registry.server.ended.then(registry.server.lastWords),
    });
    const disposal = resources.move();
    return {
      ...addresses,
      configurationFile,
      broken,
      [Symbol.asyncDispose]: () => disposal.disposeAsync(),
    };
  } finally {
    await resources.disposeAsync();
  }
}

interface Starting {
  readonly postgres: Promise<EmbeddedPostgres>;
  readonly kafka: Promise<KafkaCluster>;
  readonly registry: Promise<RunningRegistry>;
}

/** All at once: each waits for disks and itself more than for the processor. */
async function startServers(
  options: StackOptions,
  resources: AsyncDisposableStack,
): Promise<Starting> {
  const { dir, brokers, signal, onProgress } = options;
  const ports = await keptPorts(dir);
  const download = { signal, onProgress };
  const starting = {
    postgres: startPostgres({ dir: path.join(dir, 'postgres'), port: ports.postgres }),
    kafka: startKafka({ dir: path.join(dir, 'kafka'), brokers, ...download }),
    registry: startRegistry({
      dir: path.join(dir, 'registry'),
      port: ports.registry,
      isDurable: true,
      ...download,
    }),
  };
  for (const server of Object.values(starting)) {
    // What fails is reported when its turn comes; what has started by then is stopped all the same.
    const started = server.catch(() => null);
    resources.defer(async () => (await started)?.stop());
  }
  return starting;
}

/** The ports of a folder stay the same, so that what was configured for it stays right. */
async function keptPorts(dir: string): Promise<{ postgres: number; registry: number }> {
  const file = path.join(dir, 'ports.json');
  const stored = await readFile(file, 'utf8').catch(() => null);
  if (stored !== null) return JSON.parse(stored) as { postgres: number; registry: number };
  const [postgres = 0, registry = 0] = await freePorts(2);
  await writeFile(file, `${JSON.stringify({ postgres, registry }, null, 2)}\n`);
  return { postgres, registry };
}

async function showPostgres(starting: Promise<EmbeddedPostgres>) {
  const server = await starting;
  const version = await createDatabase(server);
  return { server, text: `${version} on port ${server.port}, wal_level logical` };
}

async function showKafka(starting: Promise<KafkaCluster>) {
  const server = await starting;
  const count = server.brokers.length === 1 ? '1 broker' : `${server.brokers.length} brokers`;
  return { server, text: `${kafkaVersion}, ${count}: ${server.brokers.join(', ')}` };
}

async function showRegistry(starting: Promise<RunningRegistry>) {
  const server = await starting;
  return { server, text: `Apicurio ${registryVersion} at ${new URL(server.url).host}` };
}

/** Makes the database with its publication on first use; gives the server's version. */
async function createDatabase(server: EmbeddedPostgres): Promise<string> {
  const run = async <T>(name: string, use: (client: pg.Client) => Promise<T>) => {
    const client = new pg.Client({ connectionString: server.url(name) });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  };
  const version = await run('postgres', async (client) => {
    const made = await client.query('select from pg_database where datname = $1', [database]);
    if (made.rowCount === 0) await client.query(`create database ${database}`);
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    return rows[0]?.server_version ?? '';
  });
  await run(database, async (client) => {
    const made = await client.query(`select from pg_publication where pubname = 'tributary'`);
    if (made.rowCount === 0) await client.query(publicationSql);
  });
  return version;
}

/** A configuration that is there may have been changed by its owner: it stays. */
async function configure(file: string, addresses: StackAddresses): Promise<{ text: string }> {
  const shown = path.relative(process.cwd(), file);
  if (existsSync(file)) return { text: `${shown} is there already and stays as it is` };
  await writeFile(file, renderStackConfiguration(addresses), { mode: 0o600 });
  return { text: `written to ${shown}` };
}

async function firstToEnd(servers: Readonly<Record<string, Promise<string>>>): Promise<never> {
  const [name, lastWords] = await Promise.race(
    Object.entries(servers).map(async ([what, ended]) => [what, await ended] as const),
  );
  throw new PipelineError('setup-failed', `${name} ended by itself: ${lastWords}`.trim(), {
    hint: 'see server.log in its folder, then start the stack again',
  });
}

/** Two stacks in one folder would end each other's servers. */
async function lockFolder(dir: string): Promise<AsyncDisposable> {
  const file = path.join(dir, 'stack.pid');
  const owner = Number(await readFile(file, 'utf8').catch(() => ''));
  const isStack = /tributary[^\s\0]*[\s\0]+stack/;
  if (owner > 0 && owner !== process.pid && isStack.test(await commandLineOf(owner))) {
    throw new PipelineError('setup-failed', `process ${owner} runs a stack in ${dir}`, {
      hint: 'stop it with Ctrl-C first, or name another folder with --dir',
    });
  }
  await writeFile(file, String(process.pid));
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}
