import { existsSync } from 'node:fs';
import type { SinkConfig } from '../runtime/config.ts';
import { createDuckdbSink } from '../sinks/duckdb/duckdb-sink.ts';
import { borrowLake, createLeaseOwner } from '../sinks/duckdb/lease.ts';
import { openLakeReader } from '../sinks/duckdb/read-lake.ts';
import type { PositionText } from '../schemas/position.ts';
import type { SinkPause } from '../sinks/run-sink.ts';
import type { Checkpoint, Sink } from '../sinks/sink.ts';

/** How long a sink may take to finish its batch and lend its lake. */
const lendWaitMs = 60_000;

export interface OpenedSink extends Disposable {
  readonly sink: Sink;
  readonly pause: SinkPause;
}

/** The sink that a block of the configuration names, not opened yet; this process is to own its lake. */
export function openSink(settings: SinkConfig): OpenedSink {
  switch (settings.type) {
    case 'duckdb': {
      const owner = createLeaseOwner(settings.path);
      const sink = createDuckdbSink({ path: settings.path, memoryBytesMax: settings.memory });
      return { sink, pause: owner, [Symbol.dispose]: () => owner[Symbol.dispose]() };
    }
  }
  return settings.type satisfies never;
}

/** How far a lake is; null when no sink has opened it yet. Throws `sink-locked`. */
export async function readCheckpoint(settings: SinkConfig): Promise<Checkpoint | null> {
  return await withLake(settings, { purpose: 'status' }, async () => {
    if (!existsSync(settings.path)) return null;
    await using lake = await openLakeReader(settings.path);
    return await lake.checkpoint();
  });
}

export interface LakeUse {
  readonly purpose: string;
  /** A running sink first applies exactly up to there. */
  readonly until?: PositionText;
  readonly signal?: AbortSignal;
}

/** Runs `use` while nobody else has the lake's file: a running sink lends it between two batches. */
export async function withLake<T>(
  settings: SinkConfig,
  options: LakeUse,
  use: () => Promise<T>,
): Promise<T> {
  switch (settings.type) {
    case 'duckdb':
      return await borrowLake(settings.path, { ...options, waitMs: lendWaitMs }, use);
  }
  return settings.type satisfies never;
}
