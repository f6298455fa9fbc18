import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { findJava } from './java.ts';
import { fetchJars, type FetchOptions } from './jars.ts';
import { freePort } from './postgres.ts';
import { type ServerProcess, startServer } from './server-process.ts';

const javaMajorMin = 21;
const heapMax = '256m';
const probeTimeoutMs = 2_000;

export interface RegistryOptions extends FetchOptions {
  readonly dir: string;
  /** Left out: a free port. */
  readonly port?: number;
}

/** A running schema registry on loopback; it keeps everything in memory. */
export interface RunningRegistry
  extends Pick<ServerProcess, 'pid' | 'stop' | 'kill'>, AsyncDisposable {
  /** Where Confluent's interface begins. */
  readonly url: string;
}

/** Starts Apicurio Registry, which speaks the interface of Confluent's. Throws `setup-failed`. */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const java = await findJava(javaMajorMin, options.env);
  const home = path.join(await fetchJars('registry', options), 'apicurio-registry-app');
  const dir = path.resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const server = await startServer({
    what: 'the schema registry',
    command: java.path,
    args: [
      ...['-Xms64m', `-Xmx${heapMax}`, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
      ...['-Dquarkus.http.host=127.0.0.1', `-Dquarkus.http.port=${port}`],
      ...['-Dquarkus.management.host=127.0.0.1', `-Dquarkus.management.port=${await freePort()}`],
      ...['-jar', path.join(home, 'quarkus-run.jar')],
    ],
    pidFile: path.join(dir, 'registry.pid'),
    isReady: () => answers(`${url}/subjects`),
  });
  return {
    pid: server.pid,
    url,
    stop: server.stop,
    kill: server.kill,
    [Symbol.asyncDispose]: server.stop,
  };
}

async function answers(address: string): Promise<boolean> {
  const response = await fetch(address, { signal: AbortSignal.timeout(probeTimeoutMs) }).catch(
    () => null,
  );
  return response?.ok ?? false;
}
