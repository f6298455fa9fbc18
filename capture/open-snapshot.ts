import { tableName, type TableSchema } from '../schemas/table-schema.ts';
import type { CaptureOptions } from './options.ts';
import { openSession, type SqlSession } from './postgres/connection.ts';
import { readPublication } from './postgres/publication.ts';
import type { ResumePoint } from './resume.ts';
import { createSnapshot } from './snapshot/create-snapshot.ts';
import { readAgain } from './rewrites.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import type { Tables } from './tables.ts';

export interface OpenSnapshotOptions {
  readonly options: CaptureOptions;
  readonly session: SqlSession;
  readonly resume: ResumePoint;
  readonly tables: Tables;
}

/** The snapshot of all published tables that are wanted, as far as the progress record lacks them. */
export async function openSnapshot({
  options,
  session,
  resume,
  tables,
}: OpenSnapshotOptions): Promise<Snapshot> {
  const { source, onSnapshot } = options;
  const wanted = resume.publication.tables.filter(
    (table) => tables.isWanted(table) && !tables.parked.has(table),
  );
  const describe = async (table: { schema: string; name: string }): Promise<TableSchema | null> => {
    const publication = await readPublication(session, source.publication);
    const published = publication?.tables.filter((other) => tableName(other) === tableName(table));
    const [described] = await tables.describe(published ?? []);
    return described ?? null;
  };
  // Before anything is read: what is rewritten from here on is noticed.
  const rewritten = await tables.rewritten(wanted);
  const snapshot = createSnapshot({
    connect: () => openSession(source),
    publications: [source.publication],
    tables: await tables.describe(wanted),
    state: resume.progress.snapshot,
    describe,
    hasRecords: (table) => tables.hasRecords(table),
    ...(onSnapshot === undefined ? {} : { onProgress: onSnapshot }),
  });
  readAgain(rewritten, { snapshot, logger: options.logger });
  return snapshot;
}
