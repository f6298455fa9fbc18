import { PipelineError } from '../runtime/errors.ts';
import { tableName } from '../schemas/table-schema.ts';
import type { CaptureLogger } from './options.ts';
import type { SqlSession } from './postgres/connection.ts';
import { type PublishedTable, readPublication } from './postgres/publication.ts';
import { readAgain } from './rewrites.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import type { Tables } from './tables.ts';

export interface PublicationWatchOptions {
  readonly session: SqlSession;
  readonly publication: string;
  readonly publicationOid: number;
  /** Tables that were published when the snapshot was opened. */
  readonly published: readonly PublishedTable[];
  readonly tables: Tables;
  readonly snapshot: Snapshot;
  readonly intervalMs: number;
  readonly logger: CaptureLogger;
  readonly onFailed: (error: unknown) => void;
}

/**
 * Looks at the publication now and then, with a few queries however many tables there are: a table that
 * was added, or whose rows were rewritten at the source and of which the stream says nothing, is read
 * beside the stream; a publication that vanished or was made anew ends capture, because the stream
 * itself would just leave a hole.
 */
export class PublicationWatch {
  readonly #options: PublicationWatchOptions;
  #known: Set<number>;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;

  constructor(options: PublicationWatchOptions) {
    this.#options = options;
    this.#known = new Set(options.published.map((table) => table.oid));
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), this.#options.intervalMs);
  }

  /** Looks now, unless it is looking. */
  look(): void {
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#options.onFailed(error))
      .finally(() => {
        this.#looking = null;
      });
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { session, publication: name, publicationOid, tables, logger } = this.#options;
    const publication = await readPublication(session, name);
    if (publication === null) {
      throw new PipelineError('source-gap', `publication "${name}" was dropped`, {
        hint: 'create it again and run `tributary repair`: changes since then were not published',
      });
    }
    if (publication.oid !== publicationOid) {
      throw new PipelineError(
        'source-gap',
        `publication "${name}" was dropped and created again: changes made between were not published`,
        { hint: 'run `tributary repair`, which reads all tables again in a new generation' },
      );
    }
    const added = publication.tables.filter((table) => !this.#known.has(table.oid));
    this.#known = new Set(publication.tables.map((table) => table.oid));
    const wanted = added.filter((table) => tables.isWanted(table) && !tables.parked.has(table));
    const described = await tables.describe(wanted);
    this.#options.snapshot.request(described);
    for (const table of described) {
      logger.info(`${tableName(table)} was added to publication "${name}": reading it`);
    }
    readAgain(await tables.rewritten(publication.tables), this.#options);
  }
}
