import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fetchJars } from '../../../commands/stack/jars.ts';
import { findJava } from '../../../commands/stack/java.ts';
import { freePorts } from '../../../commands/stack/ports.ts';
import { type ServerProcess, startServer } from '../../../commands/stack/server-process.ts';

export type Converter = 'avro' | 'json';

export interface ConnectOptions {
  /** host:port of Kafka. */
  readonly brokers: readonly string[];
  /** Where Confluent's interface of the registry begins. */
  readonly registryUrl: string;
  readonly converter: Converter;
  /** The connector's own settings. */
  readonly connector: Readonly<Record<string, string | number | boolean>>;
  /** More settings of the worker, e.g. of its producer. */
  readonly worker?: Readonly<Record<string, string | number | boolean>>;
  /** Words for the JVM (default: a small heap). */
  readonly jvm?: readonly string[];
}

export interface RunningConnect extends ServerProcess, AsyncDisposable {
  /** What the connector says of itself: RUNNING, or why not. */
  readonly state: () => Promise<string>;
}

const avroConverter = 'io.apicurio.registry.utils.converter.AvroConverter';
const javaMajorMin = 17;

/** Kafka Connect with one connector, in a process of its own. Disposing kills it and removes its folder. */
export async function startConnect(options: ConnectOptions): Promise<RunningConnect> {
  const java = await findJava(javaMajorMin);
  const [connect, debezium] = [await fetchJars('connect'), await fetchJars('debezium')];
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-connect-'));
  const [port = 0] = await freePorts(1);
  const services = await writeServices(dir);
  // The worker's own libraries come first: where two bring the same one, the newer counts.
  const jars = [
    path.join(connect, 'lib', '*'),
    path.join(debezium, 'debezium-connector-postgres', 'debezium-connector-postgres', '*'),
    path.join(debezium, 'apicurio-registry-distro-connect-converter', '*'),
    services,
  ];
  const worker = await writeProperties(dir, 'worker', {
    'bootstrap.servers': options.brokers.join(','),
    'plugin.discovery': 'service_load',
    'offset.storage.file.filename': path.join(dir, 'offsets'),
    'offset.flush.interval.ms': 1000,
    listeners: `http://127.0.0.1:${port}`,
    'connector.client.config.override.policy': 'All',
    ...converterSettings(options),
    ...options.worker,
  });
  const name = String(options.connector['name']);
  const connector = await writeProperties(dir, 'connector', options.connector);
  const url = `http://127.0.0.1:${port}/connectors/${name}/status`;
  const remove = () => rm(dir, { recursive: true, force: true });
  const server = await startServer({
    what: 'Kafka Connect',
    java: java.path,
    args: [
      ...(options.jvm ?? ['-Xmx768m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']),
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-cp',
      jars.join(path.delimiter),
      'org.apache.kafka.connect.cli.ConnectStandalone',
      worker,
      connector,
    ],
    dir: path.join(dir, 'server'),
    isReady: async () => (await stateOf(url)).startsWith('RUNNING'),
  }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  return {
    ...server,
    state: () => stateOf(url),
    [Symbol.asyncDispose]: async () => {
      await server.kill();
      await remove();
    },
  };
}

/** A folder that names the converter as a plugin: found at once, where a search takes 20 s. */
async function writeServices(dir: string): Promise<string> {
  const classes = path.join(dir, 'classes');
  const services = path.join(classes, 'META-INF', 'services');
  await mkdir(services, { recursive: true });
  const file = path.join(services, 'org.apache.kafka.connect.storage.Converter');
  await writeFile(file, `${avroConverter}\n`);
  return classes;
}

async function writeProperties(
  dir: string,
  name: string,
  settings: Readonly<Record<string, string | number | boolean>>,
): Promise<string> {
  const file = path.join(dir, `${name}.properties`);
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  await writeFile(file, lines.join(''));
  return file;
}

function converterSettings({ converter, registryUrl }: ConnectOptions) {
  const both = (settings: Readonly<Record<string, string | boolean>>) =>
    Object.fromEntries(
      ['key.converter', 'value.converter'].flatMap((side) =>
        Object.entries(settings).map(([name, value]) => [`${side}${name}`, value] as const),
      ),
    );
  if (converter === 'json') {
    return both({ '': 'org.apache.kafka.connect.json.JsonConverter', '.schemas.enable': false });
  }
  return both({
    '': avroConverter,
    '.apicurio.registry.url': registryUrl.replace('/apis/ccompat/v7', '/apis/registry/v2'),
    '.apicurio.registry.auto-register': true,
    '.apicurio.registry.as-confluent': true,
    '.apicurio.registry.headers.enabled': false,
    '.apicurio.registry.use-id': 'contentId',
  });
}

interface Status {
  readonly connector?: { readonly state: string };
  readonly tasks?: readonly { readonly state: string; readonly trace?: string }[];
}

async function stateOf(url: string): Promise<string> {
  const response = await fetch(url).catch(() => null);
  if (response === null || !response.ok) return 'STARTING';
  const { connector, tasks = [] } = (await response.json()) as Status;
  const [task] = tasks;
  if (connector?.state !== 'RUNNING' || task === undefined) return connector?.state ?? 'STARTING';
  return task.trace === undefined ? task.state : `${task.state}: ${task.trace}`;
}
