import type { LogRecord } from '../../log/log.ts';
import { valueSchema } from '../../schemas/avro.ts';
import { formatPosition, positionPrefixLength, type PositionText } from '../../schemas/position.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { compileTranscoder } from '../../capture/transcode/compile-transcoder.ts';
import type {
  ChangeFrame,
  Transcoder,
  TransactionFrame,
} from '../../capture/transcode/transcoder.ts';
import type { BeginMessage } from '../../capture/pgoutput/message.ts';
import type { Lsn } from '../../schemas/lsn.ts';
import { TransactionTopic } from '../../capture/transaction-topic.ts';
import {
  goldenMessages,
  goldenSchema,
  goldenTable,
  goldenTransactionIds,
} from './debezium-golden.ts';

const connector = { connector: 'postgresql', version: '3.6.3.Final' };

interface Compiled {
  readonly table: TableSchema;
  readonly transcoder: Transcoder;
}

/** Value schema ids as the run's registry gave them; a dropped column gets the first one again. */
function valueIds(): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  const versions = [
    ...[1, 2, 3, 4].map((version) => ['masters', version] as const),
    ['defaults_zoo', 2] as const,
  ];
  for (const [table, version] of versions) {
    const { id, schemaText } = goldenSchema(table, 'value', version);
    ids.set(schemaText, id);
  }
  return ids;
}

const fileName = (table: TableSchema): string => table.name.replace(/[^A-Za-z0-9_-]/g, '_');

function compile(table: TableSchema, known: ReadonlyMap<string, number>): Compiled {
  const name = fileName(table);
  const text = JSON.stringify(valueSchema(table, 'golden'));
  const options = {
    table,
    prefix: 'golden',
    database: 'golden',
    keySchemaId: table.key.length === 0 ? null : goldenSchema(name, 'key').id,
    valueSchemaId: known.get(text) ?? goldenSchema(name, 'value').id,
    ...connector,
  };
  return { table, transcoder: compileTranscoder(options) };
}

/** What capture will do: number the changes of each transaction and give every change its frame. */
export class GoldenRun {
  readonly written = new Map<string, LogRecord[]>();
  readonly #tables = new Map<number, Compiled>();
  readonly #ids = valueIds();
  #transaction: TransactionFrame | null = null;
  #lastCommitLsn: bigint | null = null;
  #ordinal = 0;
  /** What goes to the transaction topic. */
  readonly edges: LogRecord[] = [];
  readonly #transactions = new TransactionTopic(
    { topic: 'golden.transaction', partition: 0, records: [], isUsed: false },
    goldenTransactionIds(),
  );

  play(): this {
    for (const { lsn, message } of goldenMessages()) {
      if (message.tag === 'begin') this.#begin(message, lsn);
      if (message.tag === 'commit') this.#commit(message.endLsn);
      if (message.tag === 'relation')
        this.#tables.set(message.oid, compile(goldenTable(message), this.#ids));
      if (message.tag === 'insert')
        this.#change(message.oid, lsn, (to, frame) => to.insert(frame, message.after));
      if (message.tag === 'update') {
        this.#change(message.oid, lsn, (to, frame) =>
          to.update(frame, message.before, message.after),
        );
      }
      if (message.tag === 'delete')
        this.#change(message.oid, lsn, (to, frame) => to.delete(frame, message.before));
      if (message.tag === 'truncate') {
        for (const oid of message.oids) this.#change(oid, lsn, (to, frame) => to.truncate(frame));
      }
    }
    return this;
  }

  #begin({ xid, commitLsn, committedAtUs }: BeginMessage, lsn: Lsn): void {
    const lastCommitLsn = this.#lastCommitLsn;
    this.#transaction = {
      xid,
      commitLsn,
      committedAtUs,
      lastCommitLsn,
      snapshot: 'false',
      origin: null,
    };
    this.#ordinal = 0;
    this.edges.push(this.#transactions.begin({ xid, lsn, committedAtUs, seq: this.#seq() }));
  }

  #commit(endLsn: Lsn): void {
    this.#ordinal += 1;
    const { xid, committedAtUs } = this.#transaction!;
    const edge = { xid: xid!, lsn: endLsn, committedAtUs, seq: this.#seq() };
    this.edges.push(this.#transactions.end(edge));
    this.#lastCommitLsn = endLsn;
  }

  #seq(): PositionText {
    const { commitLsn } = this.#transaction!;
    return formatPosition({ generation: 1, commitLsn, ordinal: this.#ordinal, part: 0 });
  }

  #change(
    oid: number,
    lsn: bigint,
    change: (to: Transcoder, frame: ChangeFrame) => readonly LogRecord[],
  ): void {
    const { table, transcoder } = this.#tables.get(oid)!;
    const transaction = this.#transaction!;
    this.#ordinal += 1;
    const name = tableName(table);
    const frame: ChangeFrame = {
      transaction,
      lsn,
      seqPrefix: this.#seq().slice(0, positionPrefixLength),
      ordinal: this.#ordinal,
      capturedAtUs: 1_700_000_000_000_123n,
      block: this.#transactions.block(name, transaction.xid!, lsn),
    };
    const records = change(transcoder, frame);
    this.#transactions.count(name, records);
    this.written.set(table.name, [...(this.written.get(table.name) ?? []), ...records]);
  }
}
