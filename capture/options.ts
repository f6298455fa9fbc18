import type { ErrorKind } from '../runtime/errors.ts';
import type { Log } from '../log/log.ts';
import type { Partitioning } from '../schemas/murmur2.ts';
import type { SchemaRegistry, WhenIncompatible } from '../schemas/registry.ts';
import type { Lsn } from '../schemas/lsn.ts';
import type { SnapshotProgress } from './snapshot/chunk-reader.ts';
import type { TablePatterns } from './postgres/table-patterns.ts';

/** What `runCapture` needs; commands make it of the configuration. */
export interface CaptureOptions {
  readonly source: SourceOptions;
  /** Topic prefix, Debezium's logical name. */
  readonly prefix: string;
  /** Called at each (re)connection: a log that failed once is closed and opened anew. */
  readonly openLog: () => Promise<Log>;
  readonly registry: SchemaRegistry;
  /** What to do with a table ("schema.table") whose schema the registry finds incompatible; undefined: what the registry is configured to. */
  readonly incompatible?: (table: string) => WhenIncompatible | undefined;
  /** Folder for in-progress transactions: this capture's own, emptied at start. */
  readonly spoolPath: string;
  /** Partitions of a table's topic when it is created (default 4). */
  readonly partitions?: number;
  /** How a record's key chooses its partition (default `debezium`). */
  readonly partitioning?: Partitioning;
  /** Writes Debezium's transaction metadata: the topic `<prefix>.transaction`, and a block in each change. */
  readonly transactionTopic?: boolean;
  readonly limits?: Partial<CaptureLimits>;
  readonly logger: CaptureLogger;
  /** Told what happens, for metrics and progress; must not throw. */
  readonly observe?: (event: CaptureEvent) => void;
  /** Told after each step of the snapshot. */
  readonly onSnapshot?: (progress: SnapshotProgress) => void;
}

export interface SourceOptions {
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  readonly tables: TablePatterns;
}

export interface CaptureLogger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export type CaptureEvent =
  /** Streaming began. */
  | { readonly type: 'streaming'; readonly lsn: Lsn }
  /** Records that became durable in the log. */
  | { readonly type: 'appended'; readonly records: number; readonly bytes: number }
  /** PostgreSQL was told that everything below `lsn` is durable; `durableLsn` may be above it during a snapshot. */
  | { readonly type: 'confirmed'; readonly lsn: Lsn; readonly durableLsn: Lsn }
  /** The newest commit that is durable, microseconds since 1970. */
  | { readonly type: 'committed'; readonly committedAtUs: bigint }
  /** Bytes of in-progress transactions on disk. */
  | { readonly type: 'spooled'; readonly bytes: number }
  | { readonly type: 'snapshot-finished' }
  /** The stream is held: the registry is away, and a new schema has to be registered. */
  | {
      readonly type: 'registry-waiting';
      readonly table: string;
      readonly kind: ErrorKind;
      readonly waitedMs: number;
    }
  | { readonly type: 'registry-back' }
  /** Tables that are held back now. */
  | { readonly type: 'parked'; readonly tables: number }
  | {
      readonly type: 'reconnecting';
      readonly kind: ErrorKind;
      readonly attempt: number;
      readonly delayMs: number;
    };

export interface CaptureLimits {
  /** A batch this large is appended at once. */
  readonly batchBytesMax: number;
  /** No change waits longer for its batch. */
  readonly batchAgeMs: number;
  /** Appended but not durable; above it the stream is held. */
  readonly inFlightBytesMax: number;
  /** Least time between watermarks under load. */
  readonly watermarkIntervalMs: number;
  /** Least time between watermarks while nothing is captured. */
  readonly idleIntervalMs: number;
  /** Bytes of one transaction between the watermarks inside it. */
  readonly watermarkBytes: number;
  /** Status updates to the server go out at least this often. */
  readonly statusIntervalMs: number;
  /** How often the publication is looked at for added and removed tables. */
  readonly tablesCheckMs: number;
  /** How often the registry is asked whether it takes the schemas of parked tables. */
  readonly parkedCheckMs: number;
  /** How long another reader of the slot may take to go away. */
  readonly slotWaitMs: number;
  readonly reconnectDelayMs: number;
  readonly reconnectDelayMsMax: number;
  /** A source or log that stays away longer ends capture. */
  readonly giveUpAfterMs: number;
}

export const captureLimitDefaults: CaptureLimits = {
  batchBytesMax: 512 << 10,
  batchAgeMs: 20,
  inFlightBytesMax: 4 << 20,
  watermarkIntervalMs: 150,
  idleIntervalMs: 2000,
  watermarkBytes: 32 << 20,
  statusIntervalMs: 1000,
  tablesCheckMs: 10_000,
  parkedCheckMs: 30_000,
  slotWaitMs: 30_000,
  reconnectDelayMs: 200,
  reconnectDelayMsMax: 15_000,
  giveUpAfterMs: 300_000,
};
