import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { findJava } from '../../commands/stack/java.ts';
import { fetchJars } from '../../commands/stack/jars.ts';
import { freePorts } from '../../commands/stack/ports.ts';
import {
  quickStart,
  type ServerProcess,
  startServer,
} from '../../commands/stack/server-process.ts';

const javaMajorMin = 17;

export interface DebeziumOptions {
  /** Folder of its files and log. */
  readonly dir: string;
  readonly brokers: readonly string[];
  /** Where Confluent's interface of the registry begins. */
  readonly registryUrl: string;
  /** Of the database that is read. */
  readonly url: string;
  /** `topic.prefix`. */
  readonly prefix: string;
  readonly publication: string;
  readonly slot: string;
  /** Further settings of the connector. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * The real Debezium on Kafka Connect, with Avro as Confluent frames it. It streams from the moment that
 * its slot exists; nothing is snapshotted. Throws `setup-failed`.
 */
export async function startDebezium(options: DebeziumOptions): Promise<ServerProcess> {
  const { dir } = options;
  await mkdir(dir, { recursive: true });
  const java = await findJava(javaMajorMin);
  const jars = path.join(await fetchJars('connect'), 'lib', '*');
  const [port = 0] = await freePorts(1);
  const worker = path.join(dir, 'worker.properties');
  const connector = path.join(dir, 'connector.properties');
  await writeFile(worker, propertiesText(await workerSettings(options, port)));
  await writeFile(connector, propertiesText(connectorSettings(options)), { mode: 0o600 });
  return startServer({
    what: 'Debezium',
    java: java.path,
    dir,
    args: [
      '-Xmx1g',
      ...quickStart,
      '-cp',
      jars,
      'org.apache.kafka.connect.cli.ConnectStandalone',
      worker,
      connector,
    ],
    isReady: (log) => log.includes('Starting streaming') || log.includes('Searching for WAL'),
  });
}

async function workerSettings({ dir, brokers, registryUrl }: DebeziumOptions, port: number) {
  const registry = registryUrl.replace(/\/ccompat\/v7$/, '/registry/v2');
  const converter = (part: 'key' | 'value') => ({
    [`${part}.converter`]: 'io.apicurio.registry.utils.converter.AvroConverter',
    [`${part}.converter.apicurio.registry.url`]: registry,
    [`${part}.converter.apicurio.registry.auto-register`]: 'true',
    [`${part}.converter.apicurio.registry.as-confluent`]: 'true',
    [`${part}.converter.apicurio.registry.headers.enabled`]: 'false',
    [`${part}.converter.apicurio.registry.use-id`]: 'contentId',
  });
  return {
    'bootstrap.servers': brokers.join(','),
    'plugin.path': await fetchJars('debezium'),
    'plugin.discovery': 'only_scan',
    'offset.storage.file.filename': path.join(dir, 'offsets.dat'),
    'offset.flush.interval.ms': '5000',
    listeners: `http://127.0.0.1:${port}`,
    'connector.client.config.override.policy': 'All',
    ...converter('key'),
    ...converter('value'),
  };
}

function connectorSettings(options: DebeziumOptions) {
  const { prefix, publication, slot, settings } = options;
  const url = new URL(options.url);
  return {
    name: prefix,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': url.hostname,
    'database.port': url.port,
    'database.user': url.username,
    'database.password': url.password,
    'database.dbname': url.pathname.slice(1),
    'topic.prefix': prefix,
    'plugin.name': 'pgoutput',
    'slot.name': slot,
    'publication.name': publication,
    'publication.autocreate.mode': 'disabled',
    'schema.include.list': 'public',
    'snapshot.mode': 'no_data',
    'schema.name.adjustment.mode': 'avro',
    'field.name.adjustment.mode': 'avro',
    'decimal.handling.mode': 'precise',
    'time.precision.mode': 'adaptive',
    'tombstones.on.delete': 'true',
    'skipped.operations': 'none',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '1',
    'topic.creation.default.cleanup.policy': 'delete',
    'producer.override.max.request.size': '10485760',
    'topic.creation.default.max.message.bytes': '10485760',
    'poll.interval.ms': '50',
    ...settings,
  };
}

const propertiesText = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
