import type { Log } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { PositionText } from '../schemas/position.ts';
import type { TableVersion } from '../schemas/table-schema.ts';

const readBytesMax = 4 << 20;

/** The table versions on the schemas topic: what is there is not written again when a stream is replayed. */
export class TableHistory {
  readonly #log: Log;
  readonly #topic: string;
  /** Versions of each table topic, in the order of `from`. */
  readonly #versions = new Map<string, TableVersion[]>();

  constructor(log: Log, topic: string) {
    this.#log = log;
    this.#topic = topic;
  }

  /** Reads the whole topic. Throws `log-corrupt` when a record is not a table version. */
  async load(): Promise<void> {
    const [range] = (await this.#log.ranges([this.#topic])).get(this.#topic) ?? [];
    const end = range?.end ?? 0;
    for (let offset = range?.start ?? 0; offset < end;) {
      const records = await this.#log.read(
        { topic: this.#topic, partition: 0, offset },
        { bytesMax: readBytesMax, waitMs: 1000, allowTruncated: true },
      );
      const last = records.at(-1);
      if (last === undefined) break;
      for (const record of records) {
        if (record.value !== null) this.#remember(this.#parse(record.value, record.offset));
      }
      offset = last.offset + 1;
    }
  }

  /** Gives the version that holds at `from` if it is this one, else appends it durably. */
  async record(version: TableVersion): Promise<TableVersion> {
    const held = this.heldAt(version.topic, version.from);
    if (held !== undefined && isSameVersion(held, version)) return held;
    await this.#log.append([
      {
        topic: this.#topic,
        partition: 0,
        records: [
          {
            key: Buffer.from(`${version.topic}#${version.from}`),
            value: Buffer.from(JSON.stringify(version)),
            headers: [],
            timestampMs: Date.now(),
          },
        ],
      },
    ]);
    this.#remember(version);
    return version;
  }

  /** The version that holds at a position; undefined before the first. */
  heldAt(topic: string, position: PositionText): TableVersion | undefined {
    return this.#versions.get(topic)?.findLast((version) => version.from <= position);
  }

  /** The topic whose records have this value schema; undefined when none has. */
  topicOf(valueSchemaId: number): string | undefined {
    for (const [topic, versions] of this.#versions) {
      if (versions.some((version) => version.valueSchemaId === valueSchemaId)) return topic;
    }
    return undefined;
  }

  #remember(version: TableVersion): void {
    const versions = this.#versions.get(version.topic) ?? [];
    const others = versions.filter((other) => other.from !== version.from);
    this.#versions.set(
      version.topic,
      [...others, version].toSorted((a, b) => (a.from < b.from ? -1 : 1)),
    );
  }

  #parse(value: Buffer, offset: number): TableVersion {
    try {
      return JSON.parse(value.toString()) as TableVersion;
    } catch (cause) {
      throw new PipelineError(
        'log-corrupt',
        `the record at offset ${offset} of ${this.#topic} is no table version`,
        { cause },
      );
    }
  }
}

function isSameVersion(a: TableVersion, b: TableVersion): boolean {
  return (
    a.valueSchemaId === b.valueSchemaId &&
    a.keySchemaId === b.keySchemaId &&
    a.schemaDigest === b.schemaDigest &&
    JSON.stringify(a.table) === JSON.stringify(b.table)
  );
}
