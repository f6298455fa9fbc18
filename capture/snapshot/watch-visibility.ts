import { setTimeout as sleep } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import { newTransactionSql, snapshotSql } from './chunk-sql.ts';
import type { SnapshotCore } from './snapshot-core.ts';
import type { SnapshotLimits } from './snapshot-limits.ts';
import type { SnapshotSession } from './snapshot-session.ts';
import { parseTransactionSnapshot } from './transaction-visibility.ts';

export interface WatchVisibilityOptions {
  readonly core: SnapshotCore;
  readonly open: () => Promise<SnapshotSession>;
  readonly signal: AbortSignal;
  readonly limits: Pick<SnapshotLimits, 'visibilityPollMs' | 'giveUpAfterMs'>;
}

/**
 * Asks PostgreSQL which streamed transactions are visible now, only while some are not known to be, so
 * that the confirmed LSN follows (rule 6) also while the reader is busy or waits for a fence. Ends with
 * the signal; throws `source-unreachable` when the connection stays broken.
 */
export async function watchVisibility(options: WatchVisibilityOptions): Promise<void> {
  const { core, signal, limits } = options;
  let session: SnapshotSession | null = null;
  let failingSinceMs: number | null = null;
  while (!signal.aborted) {
    await sleep(limits.visibilityPollMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (!core.isHeldBack || signal.aborted) continue;
    try {
      session ??= await options.open();
      if (!core.hasBegun) {
        const [own] = await session.query(newTransactionSql);
        core.began(BigInt(own?.[0] ?? ''));
      }
      const [row] = await session.query(snapshotSql);
      core.seen(parseTransactionSnapshot(row?.[0] ?? ''));
      failingSinceMs = null;
    } catch (error) {
      await session?.close();
      session = null;
      failingSinceMs ??= performance.now();
      if (performance.now() - failingSinceMs > limits.giveUpAfterMs) throw lost(error);
    }
    if (!core.active && !core.isHeldBack) {
      await session?.close();
      session = null;
    }
  }
  await session?.close();
}

function lost(error: unknown): PipelineError {
  const cause = error instanceof Error ? error.message : String(error);
  return new PipelineError(
    'source-unreachable',
    `which transactions are visible cannot be asked: ${cause}`,
    { cause: error },
  );
}
