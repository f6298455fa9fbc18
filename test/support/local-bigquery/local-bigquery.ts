import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { endWithUs } from '../../../commands/stack/end-with-us.ts';
import { freePorts } from '../../../commands/stack/ports.ts';
import type { TestBigQuery } from '../test-bigquery.ts';
import { ensureLocalBigQuery } from './environment.ts';

const launcher = fileURLToPath(new URL('launcher.py', import.meta.url));
const startTimeoutMs = 120_000;
const probeTimeoutMs = 2_000;
const pollMs = 50;
const lastWordsMax = 4_000;

/** A running emulator of BigQuery on loopback. */
export interface LocalBigQuery extends TestBigQuery {
  /** Its `url`: what a sink or dbt is told, so that they do not go to the service. */
  readonly endpoint: string;
}

/**
 * Starts PyPI's local-bigquery on free ports, its data in a temporary folder; disposing kills it and
 * removes the folder. The first start on a machine makes its Python environment. Ask
 * `lacksLocalBigQuery` first. Throws with its last words when it does not come up.
 */
export async function startLocalBigQuery(): Promise<LocalBigQuery> {
  const { python, env } = await ensureLocalBigQuery();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bigquery-'));
  const [port = 0, grpcPort = 0] = await freePorts(2);
  const names = { project: 'tributary-test', dataset: 'lake' };
  const log = await open(path.join(dir, 'server.log'), 'w');
  const settings = Object.entries({
    host: '127.0.0.1',
    port,
    'grpc-port': grpcPort,
    ...names,
    'data-dir': path.join(dir, 'data'),
  });
  const child = spawn(
    python,
    [launcher, 'serve', ...settings.map(([name, value]) => `--${name}=${value}`)],
    { detached: true, stdio: ['pipe', log.fd, log.fd], env },
  );
  const ended = endOf(child);
  await log.close();
  const dispose = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(`${url}/bigquery/v2/projects/${names.project}/datasets`, child);
  } catch (cause) {
    const said = await readFile(path.join(dir, 'server.log'), 'utf8');
    await dispose();
    throw new Error(`local-bigquery did not start: ${said.slice(-lastWordsMax)}`, { cause });
  }
  const grpcAddress = `127.0.0.1:${grpcPort}`;
  const place = { url, endpoint: url, grpcAddress, location: 'US' };
  return { ...place, ...names, [Symbol.asyncDispose]: dispose };
}

function endOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('exit', () => resolve());
  // It could not be started at all.
  child.once('error', () => resolve());
  endWithUs(child, 'SIGKILL');
  return promise;
}

async function untilReady(address: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const response = await fetch(address, { signal: AbortSignal.timeout(probeTimeoutMs) }).catch(
      () => null,
    );
    if (response?.ok === true) return;
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended');
    if (performance.now() > deadline) throw new Error(`no answer for ${startTimeoutMs} ms`);
    await pause(pollMs);
  }
}
