import { join } from 'node:path';
import { openEmbeddedLog } from '../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../log/embedded/embedded-registry.ts';
import type { Log } from '../log/log.ts';
import type { Config } from '../runtime/config.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';

/** The file of an embedded log, inside the folder that the configuration names. */
function embeddedLogFile(config: Config): string {
  return join(config.log.path, 'log.sqlite');
}

/** Opens the log that the configuration names, to write and read. */
export async function openLog(config: Config): Promise<Log> {
  const { age, size } = config.log.retention;
  return openEmbeddedLog({
    path: embeddedLogFile(config),
    retention: {
      ...(age === undefined ? {} : { ageMs: age }),
      ...(size === undefined ? {} : { bytes: size }),
    },
  });
}

/** Opens it to read. Throws `log-unwritable` while capture has not made it yet. */
export async function openLogReader(config: Config): Promise<Log> {
  return openEmbeddedLog({ path: embeddedLogFile(config), readOnly: true });
}

/** Opens the registry that the configuration names. */
export async function openRegistry(config: Config): Promise<SchemaRegistry> {
  return openEmbeddedRegistry({ path: embeddedLogFile(config) });
}
