// One process that captures into an embedded log (mode "capture") or Kafka (mode "kafka", with its configuration
// as a further word) until a given LSN is confirmed, or (mode "discard") reads the same stream and throws it
// away: the ceiling. Prints its own figures as one JSON line.
import path from 'node:path';
import { openReplication } from '../../capture/postgres/connection.ts';
import { ReplicationStream } from '../../capture/postgres/replication-stream.ts';
import { runCapture } from '../../capture/run-capture.ts';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { Log } from '../../log/log.ts';
import { confluentRegistrySchema, kafkaLogSchema } from '../../runtime/config/log-fields.ts';
import { type Lsn, parseLsn } from '../../schemas/lsn.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import type { KafkaServers } from './run-child.ts';

const [mode = '', url = '', slot = '', dir = '', until = '', servers = ''] = process.argv.slice(2);
const target = parseLsn(until);
// The clock runs from the moment the stream is asked for: starting up is not part of the figures.
let startedAt = performance.now();
let cpuBefore = process.cpuUsage();
const streaming = () => {
  startedAt = performance.now();
  cpuBefore = process.cpuUsage();
};
await (mode === 'discard' ? discard() : capture());
const cpu = process.cpuUsage(cpuBefore);
const figures = {
  seconds: (performance.now() - startedAt) / 1000,
  cpuSeconds: (cpu.user + cpu.system) / 1e6,
  peakMemoryMb: process.resourceUsage().maxRSS / 1024,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);

function complain(text: string): void {
  process.stderr.write(`${text}\n`);
}

interface Target {
  readonly openLog: () => Promise<Log>;
  readonly registry: SchemaRegistry;
}

async function openTarget(): Promise<Target> {
  if (mode !== 'kafka') {
    const file = path.join(dir, 'log.sqlite');
    const openLog = () => openEmbeddedLog({ path: file });
    return { openLog, registry: await openEmbeddedRegistry({ path: file }) };
  }
  const { brokers, client, prefix, registryUrl } = JSON.parse(servers) as KafkaServers;
  const config = kafkaLogSchema.parse({ type: 'kafka', brokers, client, prefix });
  const registryConfig = confluentRegistrySchema.parse({ type: 'confluent', url: registryUrl });
  const registry = await openConfluentRegistry({ config: registryConfig });
  return { openLog: () => openKafkaLog({ config }), registry };
}

async function capture(): Promise<void> {
  const { openLog, registry } = await openTarget();
  const enough = new AbortController();
  await runCapture(
    {
      source: { url, slot, publication: 'bench', tables: ['public.*'] },
      prefix: mode === 'kafka' ? (JSON.parse(servers) as KafkaServers).prefix : 'bench',
      openLog,
      registry,
      spoolPath: path.join(dir, 'spool'),
      logger: { info: () => undefined, warn: complain, error: complain },
      observe: (event) => {
        if (event.type === 'streaming') streaming();
        if (event.type === 'confirmed' && event.lsn >= target) enough.abort();
      },
    },
    { signal: enough.signal },
  );
  await registry.close();
}

async function discard(): Promise<void> {
  const session = await openReplication({ url });
  const done = Promise.withResolvers<void>();
  const reached = (lsn: Lsn) => {
    if (lsn >= target) done.resolve();
    return undefined;
  };
  const stream = new ReplicationStream(session, {
    slot,
    publication: 'bench',
    startLsn: 0n,
    statusIntervalMs: 1_000,
    consumer: { message: (_bytes, lsn) => reached(lsn), keepalive: reached },
  });
  streaming();
  stream.start();
  await Promise.race([done.promise, stream.ended]);
  await stream.stop();
  await session.end();
}
