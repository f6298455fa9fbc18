import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Config, DuckdbSinkConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { removePostgres } from '../stack/postgres.ts';

const marker = '.tributary-demo';

/**
 * An empty folder for the demo: one of an earlier run is emptied (a server it left over is stopped),
 * a folder that holds anything else is refused.
 */
export async function emptyDemoFolder(dir: string): Promise<void> {
  const names = existsSync(dir) ? await readdir(dir) : [];
  if (names.length > 0 && !names.includes(marker)) {
    const hint = 'name an empty or new folder with --dir';
    throw new PipelineError('usage', `${dir} holds files that are not from a demo`, { hint });
  }
  await removePostgres(clusterFolder(dir));
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, marker), 'npm start may empty this folder\n');
}

export const clusterFolder = (dir: string): string => path.join(dir, 'postgres');

/** Name of the demo's sink. */
export const demoSink = 'lake';

/** The settings of the demo's lake. */
export function demoLake({ sinks }: Config): DuckdbSinkConfig {
  const settings = sinks[demoSink];
  if (settings?.type === 'duckdb') return settings;
  throw new RangeError(`the demo's configuration has no DuckDB lake ${demoSink}`);
}
