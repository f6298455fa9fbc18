import type { Type } from 'avsc';
import { expect } from 'vitest';
import type { StoredRecord } from '../../log/log.ts';
import { headerSeq } from '../../schemas/control.ts';
import { oracleType } from '../support/avro-oracle.ts';
import { type CaptureBench, prefix } from './capture-harness.ts';

export const transactionTopic = `${prefix}.transaction`;

export interface Edge {
  readonly status: string;
  readonly id: string;
  readonly event_count: { readonly long: bigint } | null;
  readonly data_collections: {
    readonly array: readonly { readonly 'event.collection': Counted }[];
  } | null;
}
interface Counted {
  readonly data_collection: string;
  readonly event_count: bigint;
}
export interface Envelope {
  readonly op: string;
  readonly source: { readonly txId: { readonly long: bigint } | null; readonly lsn: unknown };
  readonly transaction: { readonly 'event.block': Block } | null;
}
interface Block {
  readonly id: string;
  readonly total_order: bigint;
  readonly data_collection_order: bigint;
}

/** Records of a topic as they lie there, decoded. */
export async function decoded<T>(bench: CaptureBench, name: string) {
  const records: { readonly record: StoredRecord; readonly value: T | null }[] = [];
  const ranges = (await bench.log.ranges([name])).get(name) ?? [];
  for (const [partition, range] of ranges.entries()) {
    for (let offset = range.start; offset < range.end;) {
      const from = { topic: name, partition, offset };
      const some = await bench.log.read(from, { bytesMax: 1 << 24, waitMs: 0 });
      for (const record of some) {
        const value = record.value === null ? null : await decode(bench, record.value);
        records.push({ record, value: value as T | null });
      }
      offset = some.at(-1)!.offset + 1;
    }
  }
  return records;
}

const types = new Map<string, Type>();

async function decode(bench: CaptureBench, value: Buffer): Promise<unknown> {
  const text = await bench.registry.schemaText(value.readInt32BE(1));
  const type = types.get(text) ?? oracleType(JSON.parse(text));
  types.set(text, type);
  return type.fromBuffer(value.subarray(5));
}

const seqOf = ({ headers }: StoredRecord): string =>
  headers.find(([name]) => name === headerSeq)![1].toString();

/** Every transaction's edges and events of these tables agree; gives the number of transactions. */
export async function checkTransactions(
  bench: CaptureBench,
  tables: readonly string[],
): Promise<number> {
  const edges = await decoded<Edge>(bench, transactionTopic);
  const seqs = edges.map(({ record }) => seqOf(record));
  expect(seqs).toEqual([...new Set(seqs)].toSorted());
  expect(edges.map(({ value }) => value!.status)).toEqual(
    edges.map((_, index) => (index % 2 === 0 ? 'BEGIN' : 'END')),
  );
  const events = new Map<string, { table: string; seq: string; envelope: Envelope }[]>();
  for (const table of tables) {
    for (const { record, value } of await decoded<Envelope>(bench, `app.${table}`)) {
      if (value === null || value.transaction === null) continue;
      const xid = String(value.source.txId!.long);
      const event = { table, seq: seqOf(record), envelope: value };
      events.set(xid, [...(events.get(xid) ?? []), event]);
    }
  }
  for (let index = 0; index < edges.length; index += 2) {
    const [begin, end] = [edges[index]!.value!, edges[index + 1]!.value!];
    const xid = begin.id.split(':')[0]!;
    expect(end.id.split(':')[0]).toBe(xid);
    const own = (events.get(xid) ?? []).toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
    const blocks = own.map(({ envelope }) => envelope.transaction!['event.block']);
    expect(begin.id).toBe(blocks[0]!.id);
    expect(blocks.map((block) => Number(block.total_order))).toEqual(own.map((_, n) => n + 1));
    expect(Number(end.event_count!.long)).toBe(own.length);
    for (const { 'event.collection': counted } of end.data_collections!.array) {
      const ofTable = own.filter(({ table }) => table === counted.data_collection);
      const orders = ofTable.map(({ envelope }) => envelope.transaction!['event.block']);
      expect(orders.map((block) => Number(block.data_collection_order))).toEqual(
        ofTable.map((_, n) => n + 1),
      );
      expect(Number(counted.event_count)).toBe(ofTable.length);
    }
    events.delete(xid);
  }
  expect([...events.keys()]).toEqual([]);
  return edges.length / 2;
}
