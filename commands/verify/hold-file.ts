import type { Config, DuckdbSinkConfig } from '../../runtime/config.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { borrowLake } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { loadSink } from '../load-sink.ts';
import { notThere } from './not-there.ts';
import type { HoldLake } from './verify-lake.ts';

/** How long the lake may take to get to the position that it is compared at. */
const catchUpMs = 120_000;

/**
 * Holds a lake in a file exactly at a position: a running sink stands still while the position is decided, applies
 * up to there and lends its file; when none runs, its work is done here, from the log, up to the same
 * position.
 */
export function holdFile(
  config: Config,
  settings: DuckdbSinkConfig,
  signal: AbortSignal,
): HoldLake {
  const borrowing = { purpose: 'verify', waitMs: catchUpMs, signal };
  return async (decide, use) => {
    let until: PositionText = positionZero;
    const options = { ...borrowing, until: async () => (until = await decide()) };
    return await borrowLake(settings.path, options, async (grant) => {
      if (grant === null) await catchUp({ config, settings, signal }, until);
      await using lake = await openLakeReader(settings.path);
      const applied = (await lake.checkpoint())?.applied ?? '';
      if (applied < until) throw notThere({ until, applied, waitedMs: catchUpMs });
      return await use({ rows: (table) => lake.readState(table, table.columns) }, applied);
    });
  };
}

interface CatchUp {
  readonly config: Config;
  readonly settings: DuckdbSinkConfig;
  readonly signal: AbortSignal;
}

async function catchUp({ config, settings, signal }: CatchUp, until: PositionText): Promise<void> {
  const there = new AbortController();
  const tooLong = AbortSignal.timeout(catchUpMs);
  await loadSink({
    config,
    settings,
    sink: createDuckdbSink({ path: settings.path, memoryBytesMax: settings.memory }),
    pause: { requested: () => ({ until }), run: async () => there.abort() },
    observer: { onRetry: () => undefined },
    signal: AbortSignal.any([signal, there.signal, tooLong]),
  });
}
