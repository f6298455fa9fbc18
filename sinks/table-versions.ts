import type { Log } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics } from '../schemas/control.ts';
import type { PositionText } from '../schemas/position.ts';
import type { TableVersion } from '../schemas/table-schema.ts';

const readBytesMax = 1 << 20;
/** How long records that the log has may take to be read. */
const readTimeoutMs = 3_000;

/**
 * The table versions of `<prefix>.tributary.schemas`. One object stands for one version for as long as
 * this lives, so that versions can be compared by identity.
 */
export class TableVersions {
  readonly #log: Log;
  readonly #topic: string;
  readonly #versions = new Map<string, TableVersion[]>();
  #offset = 0;

  constructor(log: Log, prefix: string) {
    this.#log = log;
    this.#topic = controlTopics(prefix).schemas;
  }

  /**
   * Reads what was appended since. A version is durable before its first record and before any watermark
   * that covers it, so after this every record below a watermark read earlier has its version.
   */
  async refresh(): Promise<void> {
    // A read that finds nothing at once may come too early, over a network: the end tells.
    const end = (await this.#log.ranges([this.#topic])).get(this.#topic)?.[0]?.end ?? 0;
    while (this.#offset < end) {
      const records = await this.#log.read(
        { topic: this.#topic, partition: 0, offset: this.#offset },
        { bytesMax: readBytesMax, waitMs: readTimeoutMs, allowTruncated: true },
      );
      for (const { offset, value } of records) {
        this.#offset = offset + 1;
        if (value !== null) this.#remember(this.#parse(value, offset));
      }
      if (records.length === 0) throw this.#unread(end);
    }
  }

  /** The newest version of the topic with this schema id that began at or before `seq`. */
  find(topic: string, valueSchemaId: number, seq: PositionText): TableVersion | undefined {
    return this.#versions
      .get(topic)
      ?.findLast((version) => version.valueSchemaId === valueSchemaId && version.from <= seq);
  }

  /** Versions of one topic, oldest first. */
  of(topic: string): readonly TableVersion[] {
    return this.#versions.get(topic) ?? [];
  }

  get topics(): readonly string[] {
    return [...this.#versions.keys()];
  }

  #remember(version: TableVersion): void {
    const versions = this.#versions.get(version.topic) ?? [];
    const text = JSON.stringify(version);
    // A repeated record must not become another version; one corrected in place takes the old one's.
    if (versions.some((other) => JSON.stringify(other) === text)) return;
    const others = versions.filter((other) => other.from !== version.from);
    this.#versions.set(
      version.topic,
      [...others, version].toSorted((a, b) => (a.from < b.from ? -1 : 1)),
    );
  }

  #unread(end: number): PipelineError {
    const message = `topic ${this.#topic} ends at offset ${end} and gave nothing from ${this.#offset} on for ${readTimeoutMs / 1000} s`;
    return new PipelineError('log-unwritable', message, {
      hint: 'the log answers slowly; it is read again by itself',
    });
  }

  #parse(value: Buffer, offset: number): TableVersion {
    try {
      const version = JSON.parse(value.toString()) as TableVersion;
      if (typeof version.from === 'string' && Array.isArray(version.table.columns)) return version;
      throw new Error('it has no columns or no position');
    } catch (cause) {
      const message = `the record at offset ${offset} of ${this.#topic} is no table version`;
      throw new PipelineError('log-corrupt', message, { cause });
    }
  }
}
