import type { ModelsLake } from '../../models/lake.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { LakeFinding } from '../../sinks/bigquery/check-lake.ts';
import type { JobReport } from '../../sinks/bigquery/client.ts';
import type { LoadCosts } from '../../sinks/bigquery/load-costs.ts';
import type { PaceReport } from '../../sinks/bigquery/load-pace.ts';
import type { SinkPause } from '../../sinks/run-sink.ts';
import type { Checkpoint, Sink } from '../../sinks/sink.ts';
import type { MemberRecord, Membership } from '../../sinks/workers/membership.ts';
import type { HoldLake } from '../verify/verify-lake.ts';

/** What the commands need of a configured sink and its lake, whatever its type. */
export interface ConfiguredLake {
  /** Sets of tables that a worker each can load; 1 where one process has the whole lake. */
  readonly shareCount: number;
  /** Where the workers see each other; to be closed. */
  openMembership(): Membership;
  /** A share's sink, not opened yet; this process is to own it until it is disposed. */
  openShare(share: number, observer: LoadObserver): OpenedSink;
  /** Ends a silent worker that still holds the lake on this machine; true when it did. */
  evict(gone: MemberRecord): Promise<boolean>;
  /** How far the lake is; null when no sink has opened it yet. Throws what the lake does. */
  checkpoint(): Promise<Checkpoint | null>;
  /** Runs `use` while it may read the lake: where only one process can, a running sink lends it. */
  borrow<T>(options: LakeUse, use: () => Promise<T>): Promise<T>;
  /** Keeps the lake exactly at a position, for `verify`. */
  readonly hold: (signal: AbortSignal) => HoldLake;
  models(): ModelsPlace;
  /** What keeps the sink from loading these tables; nothing of a lake that needs no preparation. */
  check(tables: readonly CapturedTable[]): Promise<readonly LakeFinding[]>;
  /** What loading costs; null where nobody sends a bill, or nothing is loaded yet. */
  costs(): Promise<LoadCosts | null>;
}

/** A table that is captured and that the sink takes. */
export interface CapturedTable {
  /** "schema.table". */
  readonly name: string;
  readonly columns: readonly string[];
}

export interface OpenedSink extends Disposable {
  readonly sink: Sink;
  readonly pause: SinkPause;
}

/** Told what loading takes where it is billed. */
export interface LoadObserver {
  readonly onJob: (job: JobReport) => void;
  /** After each published batch. */
  readonly onPace: (report: PaceReport) => void;
}

export interface LakeUse {
  readonly purpose: string;
  /** A running sink first applies exactly up to there, where it has to lend the lake. */
  readonly until?: PositionText;
  readonly signal?: AbortSignal;
}

/** Where the models of a configured sink are built. */
export interface ModelsPlace {
  readonly lake: ModelsLake;
  /** Kept between runs: the generated project, dbt's logs and what it parsed. */
  readonly workDir: string;
}
