import { z } from 'zod';
import type { Log, LogRecord, StoredRecord } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { controlTopics } from '../../schemas/control.ts';
import type { MemberRecord, Membership } from './membership.ts';

/** Records before the end that a newcomer reads: whoever lives has announced itself within them. */
const lookBackMax = 4_000;
const readBytesMax = 1 << 20;
/** How long what was written may take to be readable. */
const readBackMs = 3_000;

const memberSchema: z.ZodType<MemberRecord> = z.object({
  id: z.string(),
  sink: z.string(),
  host: z.string(),
  pid: z.int(),
  beat: z.int(),
  atMs: z.number(),
  claims: z.array(z.object({ share: z.int(), epoch: z.int() })),
});

export interface TopicMembershipOptions {
  /** A log to write to; opened anew after a failure, since a log accepts nothing after one. */
  readonly openLog: () => Promise<Log>;
  readonly prefix: string;
  readonly sink: string;
}

/**
 * Members as records of the compacted topic `<prefix>.tributary.members`, for workers on several
 * machines: one key a member, a tombstone when it leaves. The log has to take several writers, as
 * Kafka does; the embedded one has one writer a partition.
 */
export class TopicMembership implements Membership {
  readonly #options: TopicMembershipOptions;
  readonly #topic: string;
  readonly #members = new Map<string, MemberRecord>();
  #log: Promise<Log> | null = null;
  #offset: number | null = null;
  /** Our own announcements end here: a look includes them. */
  #written = 0;

  constructor(options: TopicMembershipOptions) {
    this.#options = options;
    this.#topic = controlTopics(options.prefix).members;
  }

  async announce(member: MemberRecord): Promise<void> {
    await this.#append(member.id, Buffer.from(JSON.stringify(member)), member.atMs);
  }

  async members(): Promise<readonly MemberRecord[]> {
    await this.#using(async (log) => {
      this.#offset ??= await this.#firstOffset(log);
      const deadline = performance.now() + readBackMs;
      for (;;) {
        const leftMs = this.#offset < this.#written ? deadline - performance.now() : 0;
        const records = await log.read(
          { topic: this.#topic, partition: 0, offset: this.#offset },
          { bytesMax: readBytesMax, waitMs: Math.max(0, leftMs), allowTruncated: true },
        );
        for (const record of records) this.#take(record);
        if (records.length > 0) continue;
        if (this.#offset >= this.#written) return;
        if (performance.now() >= deadline) throw this.#unreadable(this.#offset);
      }
    });
    return [...this.#members.values()].filter(({ sink }) => sink === this.#options.sink);
  }

  async remove(id: string): Promise<void> {
    await this.#append(id, null, Date.now());
  }

  async close(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await (await log?.catch(() => undefined))?.close();
  }

  async #append(id: string, value: Buffer | null, timestampMs: number): Promise<void> {
    const record: LogRecord = { key: Buffer.from(id), value, headers: [], timestampMs };
    await this.#using(async (log) => {
      const [end] = await log.append([{ topic: this.#topic, partition: 0, records: [record] }]);
      this.#written = end?.end ?? this.#written;
    });
  }

  async #using<T>(use: (log: Log) => Promise<T>): Promise<T> {
    try {
      this.#log ??= this.#open();
      return await use(await this.#log);
    } catch (error) {
      await this.close().catch(() => {});
      throw error;
    }
  }

  async #open(): Promise<Log> {
    const log = await this.#options.openLog();
    try {
      await log.createTopics([{ topic: this.#topic, partitions: 1, compacted: true }]);
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  async #firstOffset(log: Log): Promise<number> {
    const range = (await log.ranges([this.#topic])).get(this.#topic)?.[0];
    return range === undefined ? 0 : Math.max(range.start, range.end - lookBackMax);
  }

  #take({ offset, key, value }: StoredRecord): void {
    this.#offset = offset + 1;
    const id = key?.toString() ?? '';
    // What another version of the program wrote is no member of ours.
    const member = value === null ? null : parseMember(value);
    if (member === null) this.#members.delete(id);
    else this.#members.set(id, member);
  }

  #unreadable(offset: number): PipelineError {
    const message = `topic ${this.#topic} can be read up to offset ${offset} only, although ${this.#written} records were accepted`;
    return new PipelineError('log-unwritable', message);
  }
}

function parseMember(value: Buffer): MemberRecord | null {
  try {
    return memberSchema.parse(JSON.parse(value.toString()));
  } catch {
    return null;
  }
}
