import { LakeConnection, type LakeOptions } from './client.ts';
import { commitsOf } from './shared-tables.ts';
import type { SpacingLimit } from './spacing.ts';

/** What loading has used in a time, over all shares of a lake. */
export interface LoadCost {
  readonly batches: number;
  readonly loads: number;
  readonly bytesProcessed: number;
  readonly bytesBilled: number;
  /** null without a batch. */
  readonly bytesPerBatch: number | null;
}

export interface LoadCosts {
  readonly lastHour: LoadCost;
  readonly lastDay: LoadCost;
  /** How long batches wait for one another, and what decides it; null without a batch in the last day. */
  readonly spacing: { readonly ms: number; readonly limit: SpacingLimit } | null;
}

/**
 * What loading costs, from the ledger of the lake: a query on one small table. Throws `sink-refused` in a lake
 * that no sink has opened yet.
 */
export async function readLoadCosts(options: LakeOptions): Promise<LoadCosts> {
  const lake = new LakeConnection(options);
  const { dataset } = lake;
  const sums = (condition: string) =>
    `countif(${condition} and is_published), ${['load_count', 'bytes_processed', 'bytes_billed']
      .map((name) => `coalesce(sum(if(${condition}, ${name}, 0)), 0)`)
      .join(', ')}`;
  const since = (hours: number) =>
    `applied_at > timestamp_sub(current_timestamp(), interval ${hours} hour)`;
  const [row = []] = await lake.rows(/* sql */ `
    select ${sums(since(1))}, ${sums(since(24))}
    from ${commitsOf({ dataset })}`);
  const [newest] = await lake.rows(/* sql */ `
    select spacing_ms, spacing_limit from ${commitsOf({ dataset })}
    where ${since(24)} and spacing_limit is not null order by applied_at desc limit 1`);
  return {
    lastHour: costOf(row.slice(0, 4)),
    lastDay: costOf(row.slice(4)),
    spacing:
      newest === undefined
        ? null
        : { ms: Number(newest[0]), limit: String(newest[1]) as SpacingLimit },
  };
}

function costOf(cells: readonly (string | null)[]): LoadCost {
  const [batches = 0, loads = 0, bytesProcessed = 0, bytesBilled = 0] = cells.map(Number);
  const bytesPerBatch = batches === 0 ? null : bytesBilled / batches;
  return { batches, loads, bytesProcessed, bytesBilled, bytesPerBatch };
}
