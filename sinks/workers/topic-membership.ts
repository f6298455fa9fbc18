import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { Log, LogRecord, StoredRecord } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { controlTopics } from '../../schemas/control.ts';
import type { MemberRecord, Membership } from './membership.ts';

/** Partitions of the topic: each has one writer at a time, so this many workers can meet there. */
const seatCount = 32;
/** How often another seat is tried, when two have taken the same, before that is told as a failure. */
const seatTriesMax = 8;
/** Records before the end of a seat that a newcomer reads: who lives has announced itself within them. */
const lookBackMax = 256;
const readBytesMax = 1 << 20;
/** How long records that the log has may take to be read. */
const readTimeoutMs = 3_000;

const memberSchema: z.ZodType<MemberRecord> = z.object({
  id: z.string(),
  sink: z.string(),
  host: z.string(),
  pid: z.int(),
  beat: z.int(),
  atMs: z.number(),
  claims: z.array(z.object({ share: z.int(), epoch: z.int() })),
  wantsAll: z.boolean().optional(),
});
/** Says that a member is out, unless it announces itself with a higher beat. */
const removalSchema = z.object({ removed: z.string(), beat: z.int() });

export interface TopicMembershipOptions {
  /** A log to write to; opened anew after a failure, since a log accepts nothing after one. */
  readonly openLog: () => Promise<Log>;
  readonly prefix: string;
  readonly sink: string;
}

/**
 * Members as records of the compacted topic `<prefix>.tributary.members`, for workers on several
 * machines. A partition of the log has one writer, so each member takes one for itself, its seat; of two
 * that took the same one the log refuses the second, which takes another.
 */
export class TopicMembership implements Membership {
  readonly #options: TopicMembershipOptions;
  readonly #topic: string;
  readonly #members = new Map<string, MemberRecord>();
  /** id → the beat up to which it is out. */
  readonly #removed = new Map<string, number>();
  /** Where each seat is read on. */
  readonly #offsets = new Map<number, number>();
  #log: Promise<Log> | null = null;
  #seat = randomInt(seatCount);

  constructor(options: TopicMembershipOptions) {
    this.#options = options;
    this.#topic = controlTopics(options.prefix).members;
  }

  async announce(member: MemberRecord): Promise<void> {
    await this.#append(member.id, member, member.atMs);
  }

  async members(): Promise<readonly MemberRecord[]> {
    await this.#using(async (log) => {
      // What was announced before this call is below these ends.
      const seats = (await log.ranges([this.#topic])).get(this.#topic) ?? [];
      for (const [seat, { start, end }] of seats.entries()) {
        const first = Math.max(start, end - lookBackMax);
        if (!this.#offsets.has(seat)) this.#offsets.set(seat, first);
        await this.#readSeat(log, seat, end);
      }
    });
    return [...this.#members.values()].filter(({ id, sink, beat }) => {
      return sink === this.#options.sink && beat > (this.#removed.get(id) ?? -1);
    });
  }

  async remove(id: string): Promise<void> {
    const beat = this.#members.get(id)?.beat ?? Number.MAX_SAFE_INTEGER;
    await this.#append(`removed ${id}`, { removed: id, beat }, Date.now());
  }

  async close(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await (await log?.catch(() => undefined))?.close();
  }

  async #append(key: string, value: object, timestampMs: number): Promise<void> {
    const record: LogRecord = {
      key: Buffer.from(key),
      value: Buffer.from(JSON.stringify(value)),
      headers: [],
      timestampMs,
    };
    for (let attempt = 1; ; attempt += 1) {
      const batch = { topic: this.#topic, partition: this.#seat, records: [record] };
      try {
        await this.#using((log) => log.append([batch]));
        return;
      } catch (error) {
        const isTaken = error instanceof PipelineError && error.kind === 'log-conflict';
        if (!isTaken || attempt === seatTriesMax) throw error;
        this.#seat = randomInt(seatCount);
      }
    }
  }

  async #readSeat(log: Log, seat: number, end: number): Promise<void> {
    for (;;) {
      const offset = this.#offsets.get(seat) ?? 0;
      if (offset >= end) return;
      const records = await log.read(
        { topic: this.#topic, partition: seat, offset },
        { bytesMax: readBytesMax, waitMs: readTimeoutMs, allowTruncated: true },
      );
      if (records.length === 0) throw this.#unread(seat, { offset, end });
      for (const record of records) this.#take(record);
      this.#offsets.set(seat, (records.at(-1)?.offset ?? offset) + 1);
    }
  }

  #take({ value }: StoredRecord): void {
    const content = value === null ? null : parse(value);
    const member = memberSchema.safeParse(content);
    const removal = removalSchema.safeParse(content);
    // Anything else was written by another version of the program.
    if (removal.success) {
      const { removed, beat } = removal.data;
      this.#removed.set(removed, Math.max(beat, this.#removed.get(removed) ?? -1));
    } else if (member.success) {
      const { id, beat } = member.data;
      if (beat > (this.#members.get(id)?.beat ?? -1)) this.#members.set(id, member.data);
    }
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
      const topic = { topic: this.#topic, partitions: seatCount, compacted: true };
      await log.createTopics([topic]);
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  #unread(seat: number, { offset, end }: { readonly offset: number; readonly end: number }) {
    const message = `${this.#topic}/${seat} ends at offset ${end} and gave nothing from ${offset} on for ${readTimeoutMs / 1000} s`;
    return new PipelineError('log-unwritable', message, {
      hint: 'the log answers slowly; it is read again by itself',
    });
  }
}

function parse(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString());
  } catch {
    return null;
  }
}
