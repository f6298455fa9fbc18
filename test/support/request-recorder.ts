import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  /** Text as it was sent: JSON, a form, or the parts of an upload. */
  readonly body: string;
}

/** A job that was sent as JSON. */
export interface RecordedJob {
  readonly jobReference?: { readonly location?: string };
  readonly configuration: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly query?: {
      readonly query: string;
      readonly destinationEncryptionConfiguration?: { readonly kmsKeyName: string };
    };
  };
}

/** Headers of one connection, not of the request. */
const hopHeaders = new Set(['connection', 'content-length', 'host', 'transfer-encoding']);

/**
 * Stands before an HTTP server on this machine and remembers what that is asked. As somebody's proxy it remembers
 * where they want to go, and lets nobody out.
 */
export class RequestRecorder implements AsyncDisposable {
  readonly requests: RecordedRequest[] = [];
  readonly #server: Server;
  readonly #target: string;
  readonly #answer: (request: RecordedRequest) => object | undefined;

  private constructor(target: string, answer: (request: RecordedRequest) => object | undefined) {
    this.#target = target;
    this.#answer = answer;
    this.#server = createServer((request, response) => void this.#pass(request, response));
    this.#server.on('connect', ({ url: path = '' }, socket) => {
      this.requests.push({ method: 'CONNECT', path, authorization: undefined, body: '' });
      socket.destroy();
    });
  }

  /** `answer`: JSON for requests that are not the server's. */
  static async start(
    target: string,
    answer: (request: RecordedRequest) => object | undefined = () => undefined,
  ): Promise<RequestRecorder> {
    const recorder = new RequestRecorder(target, answer);
    recorder.#server.listen(0, '127.0.0.1');
    await once(recorder.#server, 'listening');
    return recorder;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Jobs of BigQuery that ran a query, in order. */
  get queryJobs(): readonly RecordedJob[] {
    return this.requests
      .filter(({ method, path, body }) => method === 'POST' && isJobs(path) && body.startsWith('{'))
      .map(({ body }) => JSON.parse(body) as RecordedJob);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers } = incoming;
    const bytes = await buffer(incoming);
    const request: RecordedRequest = {
      method,
      path: url,
      authorization: headers.authorization,
      body: (headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString(),
    };
    this.requests.push(request);
    const own = this.#answer(request);
    if (own !== undefined) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(own));
      return;
    }
    const answered = await fetch(`${this.#target}${url}`, {
      method,
      headers: Object.entries(headers).flatMap(([name, value]) =>
        hopHeaders.has(name) || value === undefined ? [] : [[name, String(value)]],
      ) as [string, string][],
      ...(bytes.length === 0 ? {} : { body: new Uint8Array(bytes) }),
    }).catch(() => undefined);
    if (answered === undefined) {
      response.destroy();
      return;
    }
    response.statusCode = answered.status;
    for (const [name, value] of answered.headers) {
      // The body has been unpacked on its way.
      if (!hopHeaders.has(name) && name !== 'content-encoding') response.setHeader(name, value);
    }
    response.end(Buffer.from(await answered.arrayBuffer()));
  }
}

const isJobs = (path: string): boolean => /^\/bigquery\/v2\/projects\/[^/]+\/jobs(\?|$)/.test(path);
