import { PipelineError } from '../../runtime/errors.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import type { LakeEngine } from '../lake/plan-evolution.ts';
import type { LakeConnection } from './client.ts';
import { changesSuffix } from './layout.ts';
import { listTables } from './list-tables.ts';
import {
  isOfShare,
  readLayouts,
  setPolicySql,
  type ShareTables,
  streamsOf,
  type TakenCheckpoint,
} from './shared-tables.ts';
import { relation } from './sql.ts';

export interface PolicyOwner {
  readonly lake: LakeConnection;
  readonly engine: LakeEngine;
  readonly tables: ShareTables;
  readonly taken: TakenCheckpoint;
  /** The settings of columns as text; empty where nothing is set. */
  readonly policyText: string;
}

/** Tables that one query looks at: BigQuery takes 1,000. */
const tablesPerQuery = 200;

/**
 * Takes note of the policy by which this owner streams. What an owner before it streamed above the checkpoint is not
 * streamed again, so it has to have been by the same policy: by another one a change could be neither there nor
 * among the dead letters, or both. To be called when nobody else streams any more. Throws `sink-refused`.
 */
export async function takePolicy({ lake, engine, tables, taken, policyText }: PolicyOwner) {
  if (taken.policyText === policyText) return;
  const { applied, epoch } = taken.checkpoint;
  if (await lake.hasTable(streamsOf(tables))) {
    const layouts = await readLayouts(lake, tables);
    const others = layouts.filter((layout) => !isOfShare(tables, layout));
    const foreign = new Set(others.map((layout) => engine.namesOf(layout).changes));
    const streamed = await newestStreamed(lake, foreign);
    if (streamed > applied) throw otherPolicyError(applied, streamed);
  }
  await lake.run(setPolicySql(tables, { epoch, policyText }));
}

/** Position of the newest change in any `T__changes` but these. */
async function newestStreamed(
  lake: LakeConnection,
  foreign: ReadonlySet<string>,
): Promise<PositionText> {
  const names = (await listTables(lake))
    .filter(({ type }) => type === 'TABLE')
    .map(({ tableReference }) => tableReference.tableId)
    .filter((name) => name.endsWith(changesSuffix) && !foreign.has(name));
  let newest = positionZero;
  for (let at = 0; at < names.length; at += tablesPerQuery) {
    const selects = names
      .slice(at, at + tablesPerQuery)
      .map((name) => `select max(_cdc_seq) as newest from ${relation(lake.dataset, name)}`);
    const [row] = await lake.rows(
      `select max(newest) as newest from (${selects.join(' union all ')})`,
    );
    const found = row?.[0] ?? positionZero;
    if (found > newest) newest = found;
  }
  return newest;
}

function otherPolicyError(applied: PositionText, streamed: PositionText): PipelineError {
  return new PipelineError(
    'sink-refused',
    `changes up to ${streamed} were streamed with other settings of columns, and the checkpoint is at ${applied}`,
    {
      hint: 'set sinks.<name>.columns back, start the sink until it has caught up, stop it, then change them',
      context: { applied, streamed },
    },
  );
}
