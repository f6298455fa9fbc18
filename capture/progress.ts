import { z } from 'zod';

import type { Log, LogRecord } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics } from '../schemas/control.ts';
import type { SnapshotState } from './snapshot/snapshot.ts';

const lsnText = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);

const tableSnapshotSchema = z.object({
  oid: z.number().int(),
  done: z.boolean(),
  nextBlock: z.number().int().nullable(),
  blocks: z.number().int(),
  rowsRead: z.number().int(),
  storage: z.string().nullable().default(null),
  repair: z.array(z.string()),
});

const progressSchema = z.object({
  format: z.literal(1),
  generation: z.number().int().min(1).max(0xffff),
  systemId: z.string(),
  timeline: z.number().int(),
  database: z.string(),
  slot: z.string(),
  publicationOid: z.number().int(),
  /** Every change that committed before it is durable in the log; null while the slot is being created. */
  lsn: lsnText.nullable(),
  committedAtUs: z.string().nullable(),
  snapshot: z.object({ tables: z.record(z.string(), tableSnapshotSchema) }),
  /** Tables that are held back: their changes since then are not on the log. */
  parked: z.record(z.string(), z.object({ since: z.string(), reason: z.string() })).optional(),
  /** By table oid: what tells that the rows of a table were rewritten since; records before 0.2 lack it. */
  rewriteMarks: z
    .record(z.string(), z.object({ files: z.string(), columns: z.string() }))
    .optional(),
});

/** Capture's whole durable state: one record, written after what it vouches for. */
export type ProgressRecord = Omit<z.infer<typeof progressSchema>, 'snapshot'> & {
  readonly snapshot: SnapshotState;
};

const progressKey = Buffer.from('capture');

/** The record as it is appended to the progress topic. */
export function encodeProgress(progress: ProgressRecord, nowMs: number): LogRecord {
  return {
    key: progressKey,
    value: Buffer.from(JSON.stringify(progress)),
    headers: [],
    timestampMs: nowMs,
  };
}

/** The newest progress record; null before the first. Throws `log-corrupt` when it cannot be read. */
export async function readProgress(log: Log, prefix: string): Promise<ProgressRecord | null> {
  const topic = controlTopics(prefix).progress;
  const record = await log.lastRecord({ topic, partition: 0 });
  if (record?.value === undefined || record.value === null) return null;
  try {
    return progressSchema.parse(JSON.parse(record.value.toString()));
  } catch (cause) {
    throw new PipelineError(
      'log-corrupt',
      `the progress record at offset ${record.offset} of ${topic} is not one of this version`,
      { hint: 'run the version that wrote it, or move the log away and begin anew', cause },
    );
  }
}
