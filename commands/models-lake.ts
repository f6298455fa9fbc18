import { dirname, join } from 'node:path';
import { duckdbLake } from '../models/duckdb-lake.ts';
import type { ModelsLake } from '../models/lake.ts';
import type { SinkConfig } from '../runtime/config.ts';

/** Where the models of a configured sink are built. */
export interface ModelsPlace {
  readonly lake: ModelsLake;
  /** Kept between runs: the generated project, dbt's logs and what it parsed. */
  readonly workDir: string;
}

/** The lake that a sink loads, as the models reach it. A DuckDB lake has to be lent while they do. */
export function modelsPlace(settings: SinkConfig): ModelsPlace {
  switch (settings.type) {
    case 'duckdb':
      return {
        lake: duckdbLake(settings.path),
        workDir: join(dirname(settings.path), 'models'),
      };
  }
  return settings.type satisfies never;
}
