import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '../../runtime/errors.ts';
import { translated } from './errors.ts';

/** "TRIB" in the file's header: says that a SQLite file is a log and nothing else. */
const applicationId = 0x54524942;
const formatVersion = 1;
/** Large pages: a batch of 330 kB is written 1.5 times faster than in pages of 4 kB. */
const pageBytes = 16_384;
/** How long a process waits for another's transaction; they take milliseconds unless a disk hangs. */
const lockTimeoutMs = 10_000;

const tables = /* sql */ `
  create table if not exists topics (
    id integer primary key,
    topic text not null unique,
    partitions integer not null,
    compacted integer not null
  ) strict;
  create table if not exists partitions (
    id integer primary key,
    topic_id integer not null references topics (id),
    partition integer not null,
    start_offset integer not null,
    end_offset integer not null,
    retained_bytes integer not null,
    unique (topic_id, partition)
  ) strict;
  -- Row ids rise with the order of writing, so a partition's batches rise in both id and offset.
  create table if not exists batches (
    id integer primary key,
    partition_id integer not null references partitions (id),
    base_offset integer not null,
    record_count integer not null,
    timestamp_ms integer not null,
    byte_count integer not null,
    checksum integer not null,
    bytes blob not null
  ) strict;
  create unique index if not exists batches_by_offset on batches (partition_id, base_offset);
  create table if not exists schemas (
    id integer primary key,
    schema_text text not null unique
  ) strict;
  create table if not exists subjects (
    subject text not null,
    schema_id integer not null references schemas (id),
    primary key (subject, schema_id)
  ) strict, without rowid;
`;

/**
 * Opens the log's file; unless `readOnly`, creates what is missing. Every commit is on the disk when it
 * returns. Throws `log-corrupt` when the file is something else, `log-unwritable` when it cannot be opened.
 */
export function openDatabase(
  path: string,
  { readOnly }: { readonly readOnly: boolean },
): DatabaseSync {
  if (readOnly && !existsSync(path)) throw notThereYet(path);
  return translated(path, () => {
    if (!readOnly) mkdirSync(dirname(path), { recursive: true });
    const database = new DatabaseSync(path, { readOnly, timeout: lockTimeoutMs });
    try {
      if (!readOnly) prepareFile(database, path);
      // The writer has made the file and is about to make its tables.
      else if (isEmpty(database)) throw notThereYet(path);
      checkFile(database, path);
      checkEnds(database, path);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

function notThereYet(path: string): PipelineError {
  return new PipelineError('log-unwritable', `log ${path} does not exist yet`, {
    hint: 'start `tributary capture`, which creates it',
  });
}

function prepareFile(database: DatabaseSync, path: string): void {
  // Before anything is changed: a file of another program stays as it is.
  if (!isEmpty(database)) checkFile(database, path);
  // The writer checkpoints by itself, between commits: see batch-writer.ts.
  database.exec(/* sql */ `
    pragma page_size = ${pageBytes};
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma wal_autocheckpoint = 0;
    begin immediate;
  `);
  // Another process may have created the tables while this one waited for its turn.
  if (isEmpty(database)) createTables(database);
  database.exec(/* sql */ `commit`);
}

function createTables(database: DatabaseSync): void {
  database.exec(tables);
  database.exec(/* sql */ `
    pragma application_id = ${applicationId};
    pragma user_version = ${formatVersion};
  `);
}

function checkFile(database: DatabaseSync, path: string): void {
  if (pragmaNumber(database, 'application_id') !== applicationId) {
    throw new PipelineError('log-corrupt', `${path} is a SQLite file, but not a log of Tributary`, {
      hint: 'set log.path to another file',
    });
  }
  const version = pragmaNumber(database, 'user_version');
  if (version !== formatVersion) {
    throw new PipelineError(
      'log-corrupt',
      `log ${path} has format version ${version}, this program reads ${formatVersion}`,
      { hint: 'run the version of Tributary that wrote the log' },
    );
  }
}

/**
 * SQLite does not check its pages. A partition that does not end where its last batch does would lose
 * or repeat records in silence.
 */
function checkEnds(database: DatabaseSync, path: string): void {
  const select = database.prepare(/* sql */ `
    select t.topic, p.partition, p.end_offset, b.base_offset + b.record_count as batch_end
    from partitions p
    left join topics t on t.id = p.topic_id
    left join batches b on b.partition_id = p.id and b.base_offset = (
      select max(base_offset) from batches where partition_id = p.id)
    where p.end_offset <> coalesce(b.base_offset + b.record_count, p.start_offset)
      or t.id is null
    limit 1`);
  const row = select.get();
  if (row === undefined) return;
  const [topic, partition, end, batchEnd] = Object.values(row).map(String);
  throw new PipelineError(
    'log-corrupt',
    `log ${path}: partition ${partition} of topic ${topic} ends at offset ${end}, its last batch at ${batchEnd}`,
  );
}

function isEmpty(database: DatabaseSync): boolean {
  return database.prepare(/* sql */ `select 1 from sqlite_schema limit 1`).get() === undefined;
}

/** The value of a pragma that gives one number. */
function pragmaNumber(database: DatabaseSync, name: string): number {
  const row = database.prepare(/* sql */ `pragma ${name}`).get() ?? {};
  return Number(Object.values(row)[0]);
}
