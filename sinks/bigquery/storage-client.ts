import type { protos, v1 } from '@google-cloud/bigquery-storage';
import { PipelineError } from '../../runtime/errors.ts';
import { authClientOf } from './credentials.ts';
import { translateBigqueryError, type LakePlace } from './errors.ts';
import { codeName, StorageFailure, storageCode } from './storage-errors.ts';

type Client = v1.BigQueryWriteClient;
export type AppendCall = ReturnType<Client['appendRows']>;
export type AppendMessage = protos.google.cloud.bigquery.storage.v1.IAppendRowsRequest;
export type AppendAnswer = protos.google.cloud.bigquery.storage.v1.IAppendRowsResponse;

export interface StorageAccess extends LakePlace {
  readonly endpoint?: string | undefined;
  readonly storageEndpoint?: string | undefined;
  readonly credentialsFile?: string | undefined;
}

/** Pings find connections that died without a word; seconds, as the vendor's own writer has them. */
const keepalive = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 };
const callTimeoutMs = 60_000;
/** Fresh for each call, because the library writes into it. */
const once = () => ({ timeout: callTimeoutMs, retry: { retryCodes: [] as number[] } });

/** The Storage Write calls, without the library's own retries: they would hide and reorder failures. */
export class StorageClient {
  readonly #access: StorageAccess;
  #client: Promise<Client> | undefined;
  #isClosed = false;
  #statusOf: ((bytes: Uint8Array) => protos.google.rpc.IStatus) | undefined;

  constructor(access: StorageAccess) {
    this.#access = access;
  }

  /** A new COMMITTED stream; gives its full name. Throws `StorageFailure`. */
  async create(parent: string): Promise<string> {
    const client = await this.#open();
    const request = { parent, writeStream: { type: 'COMMITTED' as const } };
    const [stream] = await client.createWriteStream(request, once()).catch(this.#fail);
    return stream.name ?? '';
  }

  /** Finalizes a stream; gives its rows. Throws `StorageFailure`. */
  async finalize(name: string): Promise<bigint> {
    const client = await this.#open();
    const [{ rowCount }] = await client.finalizeWriteStream({ name }, once()).catch(this.#fail);
    return BigInt(String(rowCount ?? 0));
  }

  /** A connection for appends to one stream. The header routes it to the dataset's region. */
  async append(stream: string): Promise<AppendCall> {
    const client = await this.#open();
    const headers = { 'x-goog-request-params': `write_stream=${encodeURIComponent(stream)}` };
    return client.appendRows({ otherArgs: { headers } });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const opened = this.#client;
    // One that never opened has nothing to close.
    await opened?.then((client) => client.close()).catch(() => undefined);
  }

  /** The library takes 80 MB and a third of a second to load: only who streams pays it. */
  async #open(): Promise<Client> {
    if (this.#isClosed) {
      throw new StorageFailure({ code: 'CANCELLED', message: 'the client was closed' });
    }
    this.#client ??= this.#connect();
    try {
      return await this.#client;
    } catch (error) {
      this.#client = undefined;
      const translated = translateBigqueryError(error, this.#access);
      throw translated instanceof PipelineError ? translated : this.failure(error);
    }
  }

  async #connect(): Promise<Client> {
    const { BigQueryWriteClient, protos: messages } =
      await import('@google-cloud/bigquery-storage');
    const { credentials } = await import('@grpc/grpc-js');
    this.#statusOf = (bytes) => messages.google.rpc.Status.decode(bytes);
    const { credentialsFile, endpoint, project, storageEndpoint } = this.#access;
    if (endpoint !== undefined && storageEndpoint === undefined) {
      throw new PipelineError('config-invalid', `${endpoint} has no address for streamed rows`, {
        hint: 'set `storage_endpoint` beside `endpoint`, or mode: batch',
      });
    }
    const address = storageEndpoint === undefined ? {} : addressOf(storageEndpoint);
    const authClient = authClientOf(this.#access);
    const isOpen = endpoint !== undefined && credentialsFile === undefined;
    // The library has the types of another version of its clients.
    const settings: unknown = {
      projectId: project,
      ...keepalive,
      ...address,
      ...(authClient === undefined ? {} : { authClient }),
      ...(isOpen ? { sslCreds: credentials.createInsecure() } : {}),
    };
    const client = new BigQueryWriteClient(
      settings as ConstructorParameters<typeof BigQueryWriteClient>[0],
    );
    // Asked for here, where its failure is caught: inside the calls nobody would.
    await client.initialize();
    return client;
  }

  /** What a call or a connection failed with. */
  failure(error: unknown): StorageFailure {
    if (error instanceof StorageFailure) return error;
    const { code, message = String(error), metadata } = error as CallError;
    const [bytes] = metadata?.get('grpc-status-details-bin') ?? [];
    const status = bytes instanceof Uint8Array ? this.#statusOf?.(bytes) : undefined;
    const storage = storageCode(status?.details);
    return new StorageFailure({ code: codeName(code), message, storage }, error);
  }

  readonly #fail = (error: unknown): never => {
    throw this.failure(error);
  };
}

interface CallError {
  readonly code?: number;
  readonly message?: string;
  readonly metadata?: { get(name: string): readonly (string | Buffer)[] };
}

function addressOf(hostAndPort: string): { readonly apiEndpoint: string; readonly port: number } {
  const { hostname, port } = new URL(`http://${hostAndPort}`);
  return { apiEndpoint: hostname, port: Number(port === '' ? 443 : port) };
}
