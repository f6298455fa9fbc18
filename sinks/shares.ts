import { murmur2 } from '../schemas/murmur2.ts';

/*
 * A lake's tables are divided into a fixed number of shares. A share is a set of whole tables with one
 * checkpoint and one epoch, loaded by one worker at a time; its cuts are consistent over its tables.
 * A lake that only one process can open (DuckDB) has one share, so all of it is consistent.
 */

/** What topics cannot have in their names: tables that a rename leaves in one topic stay in one share. */
const illegalInTopics = /[^A-Za-z0-9._-]/g;

/** The share (0 .. count − 1) that "schema.table" belongs to: the same for every worker, for ever. */
export function shareOf(table: string, count: number): number {
  const name = table.replaceAll(illegalInTopics, '_');
  return (murmur2(Buffer.from(name)) >>> 0) % count;
}
