import type { Config } from '../../runtime/config.ts';
import { bigqueryLakeOf } from './bigquery.ts';
import { duckdbLakeOf } from './duckdb.ts';
import type { ConfiguredLake } from './lake.ts';

/** The lake of the configured sink `name`, which exists. */
export function configuredLake(name: string, config: Config): ConfiguredLake {
  const settings = config.sinks[name];
  if (settings === undefined) throw new RangeError(`no sink ${name} is configured`);
  switch (settings.type) {
    case 'duckdb':
      return duckdbLakeOf(name, settings, config);
    case 'bigquery':
      return bigqueryLakeOf(name, settings, config);
  }
  return settings satisfies never;
}
