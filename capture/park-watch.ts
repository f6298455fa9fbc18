import { PipelineError } from '../runtime/errors.ts';
import { tableName } from '../schemas/table-schema.ts';
import type { CaptureLogger } from './options.ts';
import type { SqlSession } from './postgres/connection.ts';
import { readPublication } from './postgres/publication.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import type { Tables } from './tables.ts';

export interface ParkWatchOptions {
  readonly session: SqlSession;
  readonly publication: string;
  readonly tables: Tables;
  readonly snapshot: Snapshot;
  readonly intervalMs: number;
  readonly logger: CaptureLogger;
  readonly onFailed: (error: unknown) => void;
}

/** Asks the registry now and then whether it takes the schemas of parked tables by now; then has them read again. */
export class ParkWatch {
  readonly #options: ParkWatchOptions;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #stopped = false;

  constructor(options: ParkWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), this.#options.intervalMs);
    this.look();
  }

  /** Looks now, unless it is looking. */
  look(): void {
    if (this.#stopped || this.#options.tables.parked.waiting.length === 0) return;
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#options.onFailed(error))
      .finally(() => {
        this.#looking = null;
      });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    for (const name of this.#options.tables.parked.waiting) await this.#tryAgain(name);
  }

  async #tryAgain(name: string): Promise<void> {
    const { session, publication, tables, snapshot, logger } = this.#options;
    tables.parked.reopen(name);
    const published = (await readPublication(session, publication))?.tables ?? [];
    const [table] = await tables.describe(
      published.filter((other) => tableName(other) === name && tables.isWanted(other)),
    );
    if (table === undefined) {
      logger.warn(
        `parked table ${name} is captured no more: it was dropped, or it is not published`,
      );
      tables.parked.forget(name);
      return;
    }
    const problem = await this.#problemOf(() => tables.accept(table));
    if (problem === null) {
      logger.info(`the registry takes the schema of ${name}: reading the parked table again`);
      snapshot.request([table], { reopen: true });
      return;
    }
    tables.parked.refused(name, problem.kind === 'schema-incompatible' ? problem.message : null);
  }

  async #problemOf(accept: () => Promise<unknown>): Promise<PipelineError | null> {
    try {
      await accept();
      return null;
    } catch (error) {
      const isPassing = error instanceof PipelineError && error.policy.retry === 'backoff';
      if (!isPassing && !(error instanceof PipelineError && error.kind === 'schema-incompatible'))
        throw error;
      return error;
    }
  }
}
