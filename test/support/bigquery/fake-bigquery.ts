import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { Faults, type Fault, Quotas, type QuotaLimits } from './faults.ts';
import { WriteService } from './grpc/write-service.ts';
import { Jobs } from './jobs.ts';
import { answer, type RestRequest, type RestTools } from './routes.ts';
import { errorBody, ServiceError } from './service-error.ts';
import { Store } from './store.ts';

export interface FakeOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Quotas to count; none if left out. */
  readonly quotas?: QuotaLimits;
  readonly deniedPermissions?: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

/** A BigQuery on this machine, for what goes wrong and for what no emulator has. */
export class FakeBigQuery implements AsyncDisposable {
  readonly store: Store;
  readonly faults = new Faults();
  /** The Storage Write half, with faults of its own. */
  readonly writes: WriteService;
  /** Called before each statement of a script; a test may hold a transaction open here. */
  onStatement: (sql: string) => Promise<void> = async () => undefined;
  readonly #tools: RestTools;
  readonly #server: Server;
  readonly #uploads = new Map<string, { readonly body: Json; readonly path: string }>();

  private constructor(store: Store, options: FakeOptions) {
    this.store = store;
    this.writes = new WriteService(store);
    const quotas = options.quotas === undefined ? undefined : new Quotas(store, options.quotas);
    const jobs = new Jobs(store, {
      faults: this.faults,
      quotas,
      onStatement: (sql) => this.onStatement(sql),
    });
    this.#tools = { store, jobs, quotas, deniedPermissions: new Set(options.deniedPermissions) };
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** Starts one on a port of 127.0.0.1, a free one unless it is given. */
  static async start(options: FakeOptions = {}, port = 0): Promise<FakeBigQuery> {
    const fake = new FakeBigQuery(await Store.open(options.now), options);
    fake.#server.listen(port, '127.0.0.1');
    await once(fake.#server, 'listening');
    await fake.writes.listen();
    return fake;
  }

  get apiEndpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Host and port of the Storage Write interface. */
  get storageEndpoint(): string {
    return this.writes.address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writes[Symbol.asyncDispose]();
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    await this.store[Symbol.asyncDispose]();
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? '/', this.apiEndpoint);
    const method = incoming.method ?? 'GET';
    try {
      const parts = await readParts(incoming);
      const ifMatch = incoming.headers['if-match'];
      const request = this.#request(method, url, parts);
      if (request === undefined) {
        const uploadId = randomUUID();
        this.#uploads.set(uploadId, { body: parts.body, path: url.pathname });
        response.setHeader(
          'location',
          `${this.apiEndpoint}${url.pathname}?uploadType=resumable&upload_id=${uploadId}`,
        );
        response.end();
        return;
      }
      const { fault } = request;
      if (fault?.kind === 'hold') await fault.until;
      if (strike(fault, 'before', response)) return;
      const body = await answer(this.#tools, {
        ...request,
        ...(ifMatch === undefined ? {} : { ifMatch }),
      });
      if (strike(fault, 'after', response)) return;
      send(response, body === undefined ? 204 : 200, body);
    } catch (error) {
      const known =
        error instanceof ServiceError ? error : new ServiceError('internalError', String(error));
      send(
        response,
        known.status === 200 ? 400 : known.status,
        errorBody(known.status, known.proto()),
      );
    }
  }

  /** The request to answer; undefined for one that only begins a resumable upload. */
  #request(method: string, url: URL, parts: Parts): RestRequest | undefined {
    const query = url.searchParams;
    const upload = this.#uploads.get(query.get('upload_id') ?? '');
    const isResumable = query.get('uploadType') === 'resumable';
    if (isResumable && upload === undefined) return undefined;
    const body = upload?.body ?? parts.body;
    const content = upload === undefined ? parts.content : parts.raw;
    const request = {
      method: upload === undefined ? method : 'POST',
      path: url.pathname,
      query,
      body,
      ...(content === undefined ? {} : { content }),
    };
    return { ...request, fault: this.faults.take(factsOf(request)) };
  }
}

function factsOf({
  body,
  method,
  path,
}: Omit<RestRequest, 'fault'>): Parameters<Faults['take']>[0] {
  const configuration = body['configuration'] as
    | { query?: { query: string }; load?: object }
    | undefined;
  const direct = typeof body['query'] === 'string' ? body['query'] : undefined;
  const sql = configuration?.query?.query ?? direct;
  if (sql !== undefined) return { method, path, jobKind: 'query', sql };
  return { method, path, ...(configuration?.load === undefined ? {} : { jobKind: 'load' }) };
}

function strike(
  fault: Fault | undefined,
  side: 'before' | 'after',
  response: ServerResponse,
): boolean {
  if (fault === undefined || !('when' in fault) || fault.when !== side) return false;
  if (fault.kind === 'reset') response.socket?.resetAndDestroy();
  else throw new ServiceError(fault.reason, fault.message ?? `Injected ${fault.reason}`);
  return true;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=UTF-8' });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

interface Parts {
  readonly body: Json;
  readonly content: Buffer | undefined;
  readonly raw: Buffer;
}

async function readParts(incoming: IncomingMessage): Promise<Parts> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const sent = Buffer.concat(chunks);
  const raw = incoming.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent;
  const type = incoming.headers['content-type'] ?? '';
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1];
  if (boundary !== undefined) return { ...multipart(raw, boundary), raw };
  const isJson = type.includes('json') && raw.length > 0;
  return {
    body: isJson ? (JSON.parse(raw.toString('utf8')) as Json) : {},
    content: undefined,
    raw,
  };
}

/** The two parts of multipart/related: metadata and content. https://www.rfc-editor.org/rfc/rfc2387 */
function multipart(raw: Buffer, boundary: string): Pick<Parts, 'body' | 'content'> {
  const mark = Buffer.from(`--${boundary}`);
  const parts: Buffer[] = [];
  let start = raw.indexOf(mark);
  while (start !== -1) {
    const end = raw.indexOf(mark, start + mark.length);
    if (end === -1) break;
    const part = raw.subarray(start + mark.length, end);
    const head = part.indexOf('\r\n\r\n');
    const tail = part.subarray(-2).toString('latin1') === '\r\n' ? part.length - 2 : part.length;
    parts.push(part.subarray(head + 4, tail));
    start = end;
  }
  return { body: JSON.parse(parts[0]?.toString('utf8') ?? '{}') as Json, content: parts[1] };
}
