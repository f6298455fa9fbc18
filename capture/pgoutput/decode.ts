import { ByteReader, describeByte } from './byte-reader.ts';
import type { PgoutputMessage, RelationColumn } from './message.ts';

/** Microseconds between 1970-01-01 and 2000-01-01, where PostgreSQL's clock begins. */
const postgresEpochUs = 946_684_800_000_000n;

const replicaIdentities = 'dnfi';
const flagKeyColumn = 1;
const flagCascade = 1;
const flagRestartIdentity = 2;
const flagTransactional = 1;

/** Begin, Commit, Stream Start, Stream Commit, Stream Abort. */
const outsideStreamOnly = 'BCScA';

/** What precedes the fields of a message inside a streamed block. */
type Xid = { readonly xid?: number };

/**
 * Reads one pgoutput message of protocol 1 or 2 in text format. `inStream` = it lies between Stream
 * Start and Stream Stop, where messages carry the xid of their (sub)transaction. Tuples are checked to
 * their end and stay bytes of `bytes`, which must not be changed while they are in use.
 * Throws `protocol-violation` with the message's type and the offset on anything malformed.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */
export function decodeMessage(bytes: Buffer, inStream: boolean): PgoutputMessage {
  const reader = new ByteReader(bytes);
  const type = String.fromCharCode(reader.uint8('type'));
  if (inStream && outsideStreamOnly.includes(type)) {
    reader.fail('it may not stand inside a streamed block');
  }
  const message = readFields(reader, type, inStream);
  reader.end();
  return message;
}

function readFields(reader: ByteReader, type: string, inStream: boolean): PgoutputMessage {
  switch (type) {
    case 'B':
      return readBegin(reader);
    case 'C':
      return readCommit(reader);
    case 'O':
      return readOrigin(reader);
    case 'R':
      return readRelation(reader, readXid(reader, inStream));
    case 'Y':
      return readType(reader, readXid(reader, inStream));
    case 'I':
      return readInsert(reader, readXid(reader, inStream));
    case 'U':
      return readUpdate(reader, readXid(reader, inStream));
    case 'D':
      return readDelete(reader, readXid(reader, inStream));
    case 'T':
      return readTruncate(reader, readXid(reader, inStream));
    case 'M':
      return readLogicalMessage(reader, readXid(reader, inStream));
    case 'S':
      return readStreamStart(reader);
    case 'E':
      if (!inStream) reader.fail('no streamed block is open');
      return { tag: 'stream-stop' };
    case 'c':
      return readStreamCommit(reader);
    case 'A':
      return readStreamAbort(reader);
    default:
      return reader.fail(`unknown type ${describeByte(type.charCodeAt(0))}`);
  }
}

function readXid(reader: ByteReader, inStream: boolean): Xid {
  return inStream ? { xid: reader.uint32('xid') } : {};
}

function readTimeUs(reader: ByteReader): bigint {
  return reader.int64('commit time') + postgresEpochUs;
}

function readBegin(reader: ByteReader): PgoutputMessage {
  return {
    tag: 'begin',
    commitLsn: reader.uint64('commit LSN'),
    committedAtUs: readTimeUs(reader),
    xid: reader.uint32('xid'),
  };
}

function readCommit(reader: ByteReader): PgoutputMessage {
  reader.uint8('flags');
  return {
    tag: 'commit',
    commitLsn: reader.uint64('commit LSN'),
    endLsn: reader.uint64('end LSN'),
    committedAtUs: readTimeUs(reader),
  };
}

function readOrigin(reader: ByteReader): PgoutputMessage {
  return { tag: 'origin', commitLsn: reader.uint64('commit LSN'), name: reader.text('name') };
}

function readStreamStart(reader: ByteReader): PgoutputMessage {
  return {
    tag: 'stream-start',
    xid: reader.uint32('xid'),
    isFirst: reader.uint8('first segment') === 1,
  };
}

function readStreamCommit(reader: ByteReader): PgoutputMessage {
  const xid = reader.uint32('xid');
  reader.uint8('flags');
  return {
    tag: 'stream-commit',
    xid,
    commitLsn: reader.uint64('commit LSN'),
    endLsn: reader.uint64('end LSN'),
    committedAtUs: readTimeUs(reader),
  };
}

function readStreamAbort(reader: ByteReader): PgoutputMessage {
  return { tag: 'stream-abort', xid: reader.uint32('xid'), subXid: reader.uint32('sub-xid') };
}

function readRelation(reader: ByteReader, xid: Xid): PgoutputMessage {
  const oid = reader.uint32('oid');
  // An empty namespace stands for pg_catalog.
  const schema = reader.text('schema') || 'pg_catalog';
  const name = reader.text('name');
  const replicaIdentity = String.fromCharCode(reader.uint8('replica identity'));
  if (!replicaIdentities.includes(replicaIdentity)) {
    reader.fail(`unknown replica identity ${describeByte(replicaIdentity.charCodeAt(0))}`);
  }
  const columns: RelationColumn[] = [];
  const count = reader.uint16('column count');
  for (let index = 0; index < count; index += 1) columns.push(readColumn(reader));
  return { tag: 'relation', ...xid, oid, schema, name, replicaIdentity, columns };
}

function readColumn(reader: ByteReader): RelationColumn {
  return {
    isKey: (reader.uint8('column flags') & flagKeyColumn) !== 0,
    name: reader.text('column name'),
    typeOid: reader.uint32('type oid'),
    typeModifier: reader.int32('type modifier'),
  };
}

function readType(reader: ByteReader, xid: Xid): PgoutputMessage {
  return {
    tag: 'type',
    ...xid,
    oid: reader.uint32('oid'),
    schema: reader.text('schema') || 'pg_catalog',
    name: reader.text('name'),
  };
}

function readInsert(reader: ByteReader, xid: Xid): PgoutputMessage {
  const oid = reader.uint32('oid');
  expectTuple(reader, String.fromCharCode(reader.uint8('tuple kind')));
  return { tag: 'insert', ...xid, oid, after: reader.tuple('new tuple') };
}

function readUpdate(reader: ByteReader, xid: Xid): PgoutputMessage {
  const oid = reader.uint32('oid');
  const kind = String.fromCharCode(reader.uint8('tuple kind'));
  if (kind !== 'K' && kind !== 'O') {
    expectTuple(reader, kind);
    return { tag: 'update', ...xid, oid, before: null, after: reader.tuple('new tuple') };
  }
  const before = readBefore(reader, kind);
  expectTuple(reader, String.fromCharCode(reader.uint8('tuple kind')));
  return { tag: 'update', ...xid, oid, before, after: reader.tuple('new tuple') };
}

function readDelete(reader: ByteReader, xid: Xid): PgoutputMessage {
  const oid = reader.uint32('oid');
  const kind = String.fromCharCode(reader.uint8('tuple kind'));
  if (kind !== 'K' && kind !== 'O') return unknownTuple(reader, kind);
  return { tag: 'delete', ...xid, oid, before: readBefore(reader, kind) };
}

function readBefore(reader: ByteReader, kind: 'K' | 'O') {
  return {
    kind: kind === 'K' ? ('key' as const) : ('full' as const),
    tuple: reader.tuple('old tuple'),
  };
}

function expectTuple(reader: ByteReader, kind: string): void {
  if (kind !== 'N') unknownTuple(reader, kind);
}

function unknownTuple(reader: ByteReader, kind: string): never {
  return reader.fail(`unexpected tuple kind ${describeByte(kind.charCodeAt(0))}`);
}

function readTruncate(reader: ByteReader, xid: Xid): PgoutputMessage {
  const count = reader.uint32('table count');
  const flags = reader.uint8('flags');
  const oids: number[] = [];
  // A false count ends at the message's last byte, so the loop is bounded by the message's length.
  for (let index = 0; index < count; index += 1) oids.push(reader.uint32('oid'));
  return {
    tag: 'truncate',
    ...xid,
    oids,
    cascade: (flags & flagCascade) !== 0,
    restartIdentity: (flags & flagRestartIdentity) !== 0,
  };
}

function readLogicalMessage(reader: ByteReader, xid: Xid): PgoutputMessage {
  const flags = reader.uint8('flags');
  const lsn = reader.uint64('LSN');
  const prefix = reader.text('prefix');
  const content = reader.slice(reader.int32('content length'), 'content');
  const transactional = (flags & flagTransactional) !== 0;
  return { tag: 'message', ...xid, transactional, lsn, prefix, content };
}
