import { describe, expect, it } from 'vitest';
import { reasonOf } from './errors.ts';
import {
  codeName,
  errorOfRow,
  errorOfStatus,
  refusedRowOf,
  storageCode,
  verdictOf,
} from './storage-errors.ts';

const place = { project: 'p', dataset: 'd' };
const type_url = 'type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError';

describe('a status of the Storage Write interface', () => {
  it.for([
    [14, undefined, 'again', 'sink-failed', 'backendError'],
    [10, undefined, 'again', 'sink-failed', 'backendError'],
    [1, undefined, 'again', 'sink-failed', 'backendError'],
    [13, undefined, 'again', 'sink-failed', 'backendError'],
    [4, undefined, 'again', 'sink-failed', 'backendError'],
    [8, undefined, 'later', 'sink-failed', 'rateLimitExceeded'],
    [16, undefined, 'anew', 'sink-denied', 'unauthorized'],
    [7, undefined, 'refused', 'sink-denied', 'accessDenied'],
    [5, undefined, 'unknown-yet', 'sink-refused', 'notFound'],
    [3, undefined, 'refused', 'sink-refused', 'invalid'],
    [3, 'STREAM_FINALIZED', 'refused', 'sink-fenced', 'STREAM_FINALIZED'],
    [
      3,
      'SCHEMA_MISMATCH_EXTRA_FIELDS',
      'unknown-yet',
      'sink-refused',
      'SCHEMA_MISMATCH_EXTRA_FIELDS',
    ],
    [6, 'OFFSET_ALREADY_EXISTS', 'taken', 'sink-corrupt', 'OFFSET_ALREADY_EXISTS'],
    [11, 'OFFSET_OUT_OF_RANGE', 'refused', 'sink-corrupt', 'OFFSET_OUT_OF_RANGE'],
    [11, undefined, 'refused', 'sink-corrupt', 'OUT_OF_RANGE'],
    [99, undefined, 'again', 'sink-failed', 'backendError'],
  ] as const)('%s %s is %s, and %s in the end', ([number, storage, verdict, kind, reason]) => {
    const status = { code: codeName(number), storage, message: 'said' };
    expect(verdictOf(status)).toBe(verdict);
    const error = errorOfStatus(status, place);
    expect(error.kind).toBe(kind);
    expect(reasonOf(error)).toBe(reason);
    expect(error.message).toContain('p.d');
  });

  it('has the service’s own code in its details', () => {
    const other = { type_url: 'type.googleapis.com/google.rpc.DebugInfo', value: Buffer.of(8, 6) };
    expect(storageCode([other, { type_url, value: Buffer.of(8, 6) }])).toBe('STREAM_FINALIZED');
    expect(storageCode([{ type_url, value: Buffer.of(8, 99) }])).toBeUndefined();
    expect(storageCode([other, { type_url, value: Buffer.of() }])).toBeUndefined();
    expect(storageCode(null)).toBeUndefined();
  });

  it('of gRPC itself says that nobody is reached', () => {
    const message = 'No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1';
    expect(reasonOf(errorOfStatus({ code: 'UNAVAILABLE', message }, place))).toBe('unreachable');
  });
});

describe('a refused row', () => {
  it('is named by its place and column, never by its value', () => {
    const message = 'Cannot return an invalid date value of 9999999 on field größe';
    const error = errorOfRow({ index: 12, message }, place, { taken: 10 });
    expect(error.kind).toBe('sink-refused');
    expect(error.message).toBe('BigQuery refused row 12 of an append in p.d, column größe');
    expect(refusedRowOf(error)).toBe(12);
    expect(JSON.stringify(error.context)).not.toContain('9999999');
  });
});
