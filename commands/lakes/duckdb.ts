import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { Config, DuckdbSinkConfig } from '../../runtime/config.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { evictMember } from '../../sinks/duckdb/evict-member.ts';
import { borrowLake, createLeaseOwner } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { FolderMembership } from '../../sinks/workers/folder-membership.ts';
import { holdFile } from '../verify/hold-file.ts';
import type { ConfiguredLake } from './lake.ts';

/** How long a sink may take to finish its batch and lend its lake. */
const lendWaitMs = 60_000;

/** A file, which one process has at a time: those who want to look borrow it. */
export function duckdbLakeOf(
  name: string,
  settings: DuckdbSinkConfig,
  config: Config,
): ConfiguredLake {
  const { path, memory } = settings;
  const borrow: ConfiguredLake['borrow'] = (options, use) =>
    borrowLake(path, { ...options, waitMs: lendWaitMs }, use);
  return {
    shareCount: 1,
    // Who can reach the lake's file can reach the folder beside it.
    openMembership: () => new FolderMembership(`${path}.lease`, name),
    openShare: () => {
      const owner = createLeaseOwner(path);
      const isReplaced = () => owner.hasRival();
      const sink = createDuckdbSink({ path, memoryBytesMax: memory, isReplaced });
      return { sink, pause: owner, [Symbol.dispose]: () => owner[Symbol.dispose]() };
    },
    evict: (gone) => evictMember(path, gone),
    checkpoint: () =>
      borrow({ purpose: 'status' }, async () => {
        if (!existsSync(path)) return null;
        await using lake = await openLakeReader(path);
        return await lake.checkpoint();
      }),
    borrow,
    check: async () => [],
    costs: async () => null,
    hold: (signal) => holdFile(config, settings, signal),
    models: () => ({ lake: duckdbLake(path), workDir: join(dirname(path), 'models') }),
  };
}
