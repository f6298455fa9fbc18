import { join } from 'node:path';
import { openConfluentRegistry } from '../log/confluent/confluent-registry.ts';
import { openEmbeddedLog } from '../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../log/embedded/embedded-registry.ts';
import { openKafkaLog } from '../log/kafka/kafka-log.ts';
import type { Log } from '../log/log.ts';
import type { Config } from '../runtime/config.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';

/** The file of an embedded log, inside the folder that the configuration names. */
const embeddedLogFile = (path: string): string => join(path, 'log.sqlite');

/**
 * Opens the log that the configuration names, to write and read. `warn` is told about topics that are
 * not as the configuration wants them.
 */
export async function openLog(
  { log }: Config,
  warn: (message: string) => void = () => undefined,
): Promise<Log> {
  if (log.type === 'kafka') {
    return openKafkaLog({
      config: log,
      onDrift: ({ topic, setting, wanted, found }) =>
        warn(`topic ${topic} has ${setting} ${found}, the configuration wants ${wanted}`),
    });
  }
  const { age, size } = log.retention;
  return openEmbeddedLog({
    path: embeddedLogFile(log.path),
    retention: {
      ...(age === undefined ? {} : { ageMs: age }),
      ...(size === undefined ? {} : { bytes: size }),
    },
  });
}

/** Opens it to read. Throws `log-unwritable` while capture has not made it yet. */
export async function openLogReader({ log }: Config): Promise<Log> {
  return log.type === 'kafka'
    ? openKafkaLog({ config: log, readOnly: true })
    : openEmbeddedLog({ path: embeddedLogFile(log.path), readOnly: true });
}

/** Opens the registry that the configuration names. `onAlert` is told what a person should look at. */
export async function openRegistry(
  { log, registry }: Config,
  onAlert: (message: string) => void = () => undefined,
): Promise<SchemaRegistry> {
  if (registry.type === 'confluent') return openConfluentRegistry({ config: registry, onAlert });
  if (log.type === 'embedded') return openEmbeddedRegistry({ path: embeddedLogFile(log.path) });
  throw new PipelineError('config-invalid', 'a log on Kafka needs a registry of type confluent');
}
