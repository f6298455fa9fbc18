import type { Config, SinkConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { borrowLake } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { loadSink } from '../load-sink.ts';
import type { HoldLake } from './verify-lake.ts';

/** How long the lake may take to get to the position that it is compared at. */
const catchUpMs = 120_000;

/**
 * Holds a lake exactly at a position: a running sink stands still while the position is decided, applies
 * up to there and lends its file; when none runs, its work is done here, from the log, up to the same
 * position.
 */
export function holdLake(config: Config, settings: SinkConfig, signal: AbortSignal): HoldLake {
  const borrowing = { purpose: 'verify', waitMs: catchUpMs, signal };
  return async (decide, use) => {
    let until: PositionText = positionZero;
    const options = { ...borrowing, until: async () => (until = await decide()) };
    return await borrowLake(settings.path, options, async (grant) => {
      if (grant === null) await catchUp({ config, settings, signal }, until);
      await using lake = await openLakeReader(settings.path);
      const applied = (await lake.checkpoint())?.applied ?? '';
      if (applied < until) throw notThere(until, applied);
      return await use({ rows: (table) => lake.readState(table, table.columns) }, applied);
    });
  };
}

interface CatchUp {
  readonly config: Config;
  readonly settings: SinkConfig;
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

function notThere(until: PositionText, applied: PositionText): PipelineError {
  const message = `the lake is at ${applied} and did not reach ${until} within ${catchUpMs / 1000} s`;
  const hint = 'is capture running? see `tributary status`';
  return new PipelineError('sink-failed', message, { hint });
}
