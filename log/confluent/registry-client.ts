import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import { authorization, tlsAgent } from './credentials.ts';
import { noAnswer, type RegistryRefusal, translateFailure, translateRefusal } from './errors.ts';

const contentType = 'application/vnd.schemaregistry.v1+json';
/** A schema may be long, but nothing that is longer than this is one. */
const answerBytesMax = 16 << 20;

export interface RegistryRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the registry's URL; parts that may hold anything are encoded. */
  readonly path: string;
  readonly body?: object;
  /** What is asked, for errors. */
  readonly what: string;
  /** Codes of the registry that are an answer, not an error. */
  readonly expected?: readonly number[];
}

export type RegistryAnswer =
  | { readonly ok: true; readonly body: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly refusal: RegistryRefusal };

/** Requests to a registry with Confluent's REST interface, one connection each: they are few. */
export class RegistryClient {
  /** As configured, without user and password. */
  readonly url: string;
  readonly #base: URL;
  readonly #timeoutMs: number;
  readonly #authorization: () => string | null;
  readonly #tlsAgent: () => ReturnType<ReturnType<typeof tlsAgent>>;
  readonly #closed = new AbortController();

  constructor({ url, timeout, auth, tls }: ConfluentRegistryConfig) {
    this.#base = new URL(url);
    this.url = `${this.#base.origin}${this.#base.pathname.replace(/\/+$/, '')}`;
    this.#timeoutMs = timeout;
    this.#authorization = authorization(auth, this.#base);
    this.#tlsAgent = tlsAgent(tls);
  }

  /** Gives the answer, or one of the refusals that were expected. Throws every other as PipelineError. */
  async ask(request: RegistryRequest): Promise<RegistryAnswer> {
    const { status, text } = await this.#send(request);
    const body = parseAnswer(text);
    if (status >= 200 && status < 300 && body !== null) return { ok: true, body };
    const code = typeof body?.['error_code'] === 'number' ? body['error_code'] : 0;
    const message = typeof body?.['message'] === 'string' ? body['message'] : '';
    const refusal = { status, code, message };
    if (request.expected?.includes(code) === true) return { ok: false, refusal };
    throw translateRefusal(this.url, request.what, refusal);
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed.abort();
  }

  async #send(request: RegistryRequest): Promise<{ status: number; text: string }> {
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    try {
      const signal = AbortSignal.any([this.#closed.signal, deadline]);
      const response = await this.#open(request, signal);
      return { status: response.statusCode ?? 0, text: await readText(response) };
    } catch (error) {
      if (!deadline.aborted) throw translateFailure(this.url, error);
      throw noAnswer(this.url, request.what, this.#timeoutMs);
    }
  }

  #open({ method, path, body }: RegistryRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(`${this.url}${path}`);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const credentials = this.#authorization();
    const headers = {
      accept: `${contentType}, application/json`,
      ...(credentials === null ? {} : { authorization: credentials }),
      ...(text === undefined
        ? {}
        : { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
    };
    const options = { method, headers, signal };
    return new Promise((resolve, reject) => {
      const sent =
        url.protocol === 'https:'
          ? httpsRequest(url, { ...options, agent: this.#tlsAgent() }, resolve)
          : httpRequest(url, { ...options, agent: false }, resolve);
      sent.on('error', reject);
      sent.end(text);
    });
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response) {
    parts.push(part as Buffer);
    bytes += (part as Buffer).length;
    if (bytes > answerBytesMax) throw new Error(`an answer of more than ${answerBytesMax} bytes`);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The object that the text is, an empty one for other JSON, null for anything else. */
function parseAnswer(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    const isObject = parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed);
    return isObject ? (parsed as Record<string, unknown>) : {};
  } catch {
    return null;
  }
}
