import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { findJava } from './java.ts';
import { fetchJars, type FetchOptions } from './jars.ts';
import { freePorts } from './ports.ts';
import { quickStart, type ServerProcess, startServer } from './server-process.ts';

const javaMajorMin = 21;
const heapMax = '256m';
const probeTimeoutMs = 2_000;

export interface RegistryOptions extends FetchOptions {
  /** Folder of its log. */
  readonly dir: string;
  /** Left out: a free port. */
  readonly port?: number;
  /** Keep the schemas in the folder, each durable when its id is given; else in memory, ids from 1. */
  readonly isDurable?: boolean;
}

/** A running schema registry on loopback. */
export interface RunningRegistry extends ServerProcess, AsyncDisposable {
  /** Where Confluent's interface begins. */
  readonly url: string;
}

/**
 * Starts Apicurio Registry, which speaks the interface of Confluent's: its global rule is none until it is
 * set. Throws `setup-failed`.
 */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const java = await findJava(javaMajorMin, options);
  const home = path.join(await fetchJars('registry', options), 'apicurio-registry-app');
  const dir = path.resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const [free = 0, management = 0] = await freePorts(2);
  const port = options.port ?? free;
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const storage = {
    'apicurio.storage.sql.kind': 'h2',
    'apicurio.datasource.url': `jdbc:h2:file:${path.join(dir, 'schemas')};WRITE_DELAY=0`,
  };
  const settings = Object.entries({
    'quarkus.http.host': '127.0.0.1',
    'quarkus.http.port': port,
    'quarkus.management.host': '127.0.0.1',
    'quarkus.management.port': management,
    'quarkus.http.access-log.enabled': false,
    ...(options.isDurable === true ? storage : {}),
  });
  const server = await startServer({
    what: 'the schema registry',
    java: java.path,
    args: [
      '-Xms64m',
      `-Xmx${heapMax}`,
      ...quickStart,
      ...settings.map(([name, value]) => `-D${name}=${value}`),
      '-jar',
      path.join(home, 'quarkus-run.jar'),
    ],
    dir,
    signal: options.signal,
    isReady: () => answers(`${url}/subjects`),
  });
  return { ...server, url, [Symbol.asyncDispose]: server.stop };
}

async function answers(address: string): Promise<boolean> {
  const response = await fetch(address, { signal: AbortSignal.timeout(probeTimeoutMs) }).catch(
    () => null,
  );
  return response?.ok ?? false;
}
