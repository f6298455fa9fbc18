import { status } from '@grpc/grpc-js';
import { protos } from '@google-cloud/bigquery-storage';
import { ServiceError } from '../service-error.ts';

const { StorageError } = protos.google.cloud.bigquery.storage.v1;
type StorageCode = keyof typeof StorageError.StorageErrorCode;

export interface RowError {
  readonly index: number;
  readonly code: 1;
  readonly message: string;
}

/** A refusal as the Storage Write interface tells it. */
export class WriteError extends Error {
  readonly code: status;
  readonly storage: StorageCode | undefined;
  readonly entity: string;
  readonly rowErrors: readonly RowError[];

  constructor(
    code: status,
    message: string,
    more: {
      readonly storage?: StorageCode;
      readonly entity?: string;
      readonly rowErrors?: readonly RowError[];
    } = {},
  ) {
    super(message);
    this.code = code;
    this.storage = more.storage;
    this.entity = more.entity ?? '';
    this.rowErrors = more.rowErrors ?? [];
  }

  /** `google.rpc.Status` with the service's own code among its details. */
  status(): protos.google.rpc.IStatus {
    const { code, entity, message, storage } = this;
    if (storage === undefined) return { code, message };
    const detail = {
      code: StorageError.StorageErrorCode[storage],
      entity,
      errorMessage: message,
    };
    const type_url = 'type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError';
    const details = [{ type_url, value: StorageError.encode(detail).finish() }];
    return { code, message, details };
  }
}

/** What a call fails with: refusals of the store as this interface tells them. */
export function writeErrorOf(error: unknown, entity: string): WriteError {
  if (error instanceof WriteError) return error;
  if (!(error instanceof ServiceError)) return new WriteError(status.INTERNAL, String(error));
  if (error.reason === 'notFound') {
    return new WriteError(status.NOT_FOUND, error.message, { storage: 'TABLE_NOT_FOUND', entity });
  }
  return new WriteError(status.INVALID_ARGUMENT, error.message);
}
