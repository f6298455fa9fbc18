import { PipelineError } from '../runtime/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../schemas/lsn.ts';
import { parsePosition, positionZero, type PositionText } from '../schemas/position.ts';
import type { SlotState, SystemIdentity } from './postgres/slot.ts';
import type { ProgressRecord } from './progress.ts';

/** What is known of source and log before streaming starts. */
export interface SourceFacts {
  readonly system: SystemIdentity;
  readonly slotName: string;
  readonly slot: SlotState | null;
  readonly publicationName: string;
  readonly publicationOid: number;
  readonly progress: ProgressRecord | null;
  /** Highest position on any table's topic. */
  readonly highest: PositionText;
  /** Where the timeline of the progress record was left, when the source is on another one; null when unknown. */
  readonly timelineEnd: Lsn | null;
}

/** 'create' the slot; 'adopt' one that was made for us before; 'resume' where the log ends. */
export type SourceDecision = 'create' | 'adopt' | 'resume';

const repairHint =
  'the log cannot be continued without a gap: run `tributary repair`, which reads all tables again in a new generation';

/**
 * Whether streaming can go on from the slot without a hole. PostgreSQL gives no error when asked to
 * start before the slot's position: it just skips, so all of it is compared here.
 * Throws `source-gap` when changes may be missing, `source-unfit` when the slot is not for us.
 */
export function judgeSource(facts: SourceFacts): SourceDecision {
  const { progress, slot } = facts;
  if (slot !== null) checkSlotIsOurs(facts, slot);
  if (progress === null && facts.highest !== positionZero) throw lostProgress(facts);
  if (progress === null || progress.lsn === null) return slot === null ? 'create' : 'adopt';
  checkCluster(facts, progress);
  checkPublication(facts, progress);
  checkTimeline(facts, progress);
  checkSlotPosition(facts, { slot, durableLsn: parseLsn(progress.lsn) });
  return 'resume';
}

function checkSlotIsOurs({ slotName, system }: SourceFacts, slot: SlotState): void {
  if (!slot.isLogical || slot.plugin !== 'pgoutput') {
    const what = slot.isLogical ? `of plugin ${slot.plugin ?? '?'}` : 'physical';
    throw new PipelineError('source-unfit', `slot "${slotName}" is ${what}, not of pgoutput`, {
      hint: 'set source.slot to a name that is not taken',
    });
  }
  if (slot.database !== system.database) {
    throw new PipelineError(
      'source-unfit',
      `slot "${slotName}" belongs to database "${slot.database ?? '?'}", not to "${system.database}"`,
      { hint: 'set source.slot to a name that is not taken' },
    );
  }
  if (slot.invalidation !== null) {
    throw gap(
      `slot "${slotName}" was invalidated by the server (${slot.invalidation})`,
      facts(slot),
    );
  }
}

function lostProgress({ highest }: SourceFacts): PipelineError {
  return gap(`the log holds changes up to position ${highest}, but no progress record`, {});
}

function checkCluster({ system }: SourceFacts, progress: ProgressRecord): void {
  if (progress.systemId !== system.systemId) {
    throw gap(
      `the log was written from cluster ${progress.systemId}, the source is cluster ${system.systemId}`,
      {},
      'point source.url to the former cluster, or choose another log.prefix for this one',
    );
  }
  if (progress.database !== system.database) {
    throw gap(
      `the log was written from database "${progress.database}", the source is "${system.database}"`,
      {},
      'point source.url to the former database, or choose another log.prefix for this one',
    );
  }
}

function checkPublication(
  { publicationName, publicationOid }: SourceFacts,
  progress: ProgressRecord,
): void {
  if (progress.publicationOid === publicationOid) return;
  throw gap(
    `publication "${publicationName}" was dropped and created again: changes made between were not published`,
    { before: progress.publicationOid, now: publicationOid },
  );
}

/** After a failover the log may only hold what the new primary also has. */
function checkTimeline(facts: SourceFacts, progress: ProgressRecord): void {
  const { system, timelineEnd, highest } = facts;
  if (progress.timeline === system.timeline) return;
  const change = `the source went from timeline ${progress.timeline} to ${system.timeline}`;
  if (timelineEnd === null) throw gap(`${change}, whose history does not name the former`, {});
  const durable = parseLsn(progress.lsn ?? '0/0');
  const written = highest === positionZero ? 0n : parsePosition(highest).commitLsn;
  const reached = durable > written ? durable : written;
  if (reached > timelineEnd) {
    throw gap(
      `${change} at LSN ${formatLsn(timelineEnd)}, but the log holds changes up to ${formatLsn(reached)}`,
      {},
    );
  }
}

function checkSlotPosition(
  { slotName, system }: SourceFacts,
  { slot, durableLsn }: { readonly slot: SlotState | null; readonly durableLsn: Lsn },
): void {
  const durable = formatLsn(durableLsn);
  if (slot === null) {
    throw gap(`slot "${slotName}" is gone; the log is complete up to LSN ${durable}`, {});
  }
  if (slot.confirmedLsn === null) {
    throw gap(`slot "${slotName}" has no confirmed position`, facts(slot));
  }
  if (slot.confirmedLsn > durableLsn) {
    const at = formatLsn(slot.confirmedLsn);
    throw gap(
      `slot "${slotName}" stands at LSN ${at}, the log is complete only up to ${durable}: it was advanced or created again`,
      facts(slot),
    );
  }
  if (system.lsn < durableLsn) {
    const at = formatLsn(system.lsn);
    throw gap(
      `the source's WAL ends at LSN ${at}, before ${durable} that the log already holds: it was restored from a backup`,
      {},
    );
  }
}

function gap(message: string, context: Record<string, unknown>, hint = repairHint): PipelineError {
  return new PipelineError('source-gap', message, { hint, context });
}

function facts(slot: SlotState): Record<string, unknown> {
  return { walStatus: slot.walStatus, invalidation: slot.invalidation };
}
