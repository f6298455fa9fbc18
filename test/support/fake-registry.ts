import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

/** What the registry does instead of answering: an answer of its own, silence, or a cut connection. */
export type Fault =
  | { readonly status: number; readonly body: string }
  | 'hang'
  | 'drop'
  | { readonly delayMs: number };

export interface SeenRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly authorization: string | undefined;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const ok = (body: unknown): Answer => ({ status: 200, body });
const refused = (status: number, code: number, message: string): Answer => {
  return { status, body: { error_code: code, message } };
};
const subjectMissing = (subject: string) => refused(404, 40401, `Subject '${subject}' not found.`);

/**
 * A schema registry as Confluent's answers, in memory, whose faults a test scripts. BACKWARD is checked
 * as far as the tests need it: a new field without a default, and a schema of another name, break it.
 */
export class FakeRegistry implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  /** Asked at each request; undefined: answer as usual. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  readonly subjects = new Map<string, number[]>();
  readonly texts = new Map<number, string>();
  readonly levels = new Map<string, string>();
  globalLevel = 'BACKWARD';
  readonly #tls: ServerOptions | null;
  #server: Server | null = null;
  #port = 0;

  private constructor(tls: ServerOptions | null) {
    this.#tls = tls;
  }

  static async start(tls: ServerOptions | null = null): Promise<FakeRegistry> {
    const registry = new FakeRegistry(tls);
    await registry.up();
    return registry;
  }

  get url(): string {
    return `${this.#tls === null ? 'http' : 'https'}://localhost:${this.#port}`;
  }

  /** Listens, on the same port as before. */
  async up(): Promise<void> {
    const server = this.#tls === null ? createHttpServer() : createHttpsServer(this.#tls);
    server.on('request', (request: IncomingMessage, response) => {
      void this.#take(request).then((taken) => {
        if (taken === 'drop') request.socket.destroy();
        else if (taken !== 'hang') {
          response
            .writeHead(taken.status, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
            .end(typeof taken.body === 'string' ? taken.body : JSON.stringify(taken.body));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(this.#port, 'localhost', resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Nobody listens any more; what it holds stays. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** New certificates, from the next connection on. */
  async renew(tls: ServerOptions): Promise<void> {
    await this.down();
    Object.assign(this.#tls ?? {}, tls);
    await this.up();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.down();
  }

  /** Registers as another program would. */
  put(subject: string, schema: string): number {
    const versions = this.subjects.get(subject) ?? [];
    const known = [...this.texts].find(([, text]) => text === schema)?.[0];
    const id = known ?? this.texts.size + 1;
    this.texts.set(id, schema);
    this.subjects.set(subject, versions.includes(id) ? versions : [...versions, id]);
    return id;
  }

  async #take(request: IncomingMessage): Promise<Answer | 'hang' | 'drop'> {
    const url = new URL(request.url ?? '/', 'http://registry');
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: url.pathname,
      authorization: request.headers.authorization,
    };
    this.requests.push(seen);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const fault = this.fault(seen);
    if (fault === 'hang' || fault === 'drop') return fault;
    if (fault !== undefined && 'status' in fault) return fault;
    if (fault !== undefined) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    const text = Buffer.concat(parts).toString();
    return this.#answer(`${seen.method} ${seen.path}`, {
      body: text === '' ? {} : (JSON.parse(text) as Record<string, string>),
      isGlobalWanted: url.searchParams.get('defaultToGlobal') === 'true',
    });
  }

  #answer(
    line: string,
    { body, isGlobalWanted }: { body: Record<string, string>; isGlobalWanted: boolean },
  ): Answer {
    const [verb = '', kind = '', name = '', more = '', which = ''] = line
      .replace('/compatibility/subjects/', '/compatibility/')
      .replace('/schemas/ids/', '/schemas/')
      .replaceAll(/ \//g, '/')
      .split('/')
      .map(decodeURIComponent);
    const schema = body['schema'] ?? '';
    switch (`${verb} ${kind}`) {
      case 'GET schemas': {
        const text = this.texts.get(Number(name));
        return text === undefined
          ? refused(404, 40403, `Schema ${name} not found`)
          : ok({ schema: text });
      }
      case 'GET config': {
        const level = this.levels.get(name);
        if (name === '' || (level === undefined && isGlobalWanted)) {
          return ok({ compatibilityLevel: this.globalLevel });
        }
        return level === undefined
          ? refused(
              404,
              40408,
              `Subject '${name}' does not have subject-level compatibility configured`,
            )
          : ok({ compatibilityLevel: level });
      }
      case 'PUT config':
        this.levels.set(name, body['compatibility'] ?? '');
        return ok({ compatibility: body['compatibility'] });
      case 'DELETE config': {
        const isSet = this.levels.delete(name);
        return isSet ? ok({ compatibility: this.globalLevel }) : subjectMissing(name);
      }
      case 'POST compatibility': {
        const problem = this.#problemOf(name, schema);
        return ok({
          is_compatible: problem === null,
          messages:
            problem === null ? [] : [problem, `{oldSchemaVersion: 1}`, `{oldSchema: 'secret'}`],
        });
      }
      case 'GET subjects':
        return this.#version(name, which);
      case 'POST subjects':
        return more === 'versions' ? this.#register(name, schema) : this.#lookUp(name, schema);
      default:
        return refused(404, 404, 'HTTP 404 Not Found');
    }
  }

  #version(subject: string, which: string): Answer {
    const ids = this.subjects.get(subject);
    if (ids === undefined) return subjectMissing(subject);
    const id = which === 'latest' ? ids.at(-1) : ids[Number(which) - 1];
    if (id === undefined) return refused(404, 40402, `Version ${which} not found.`);
    return ok({ subject, id, version: ids.indexOf(id) + 1, schema: this.texts.get(id) });
  }

  #lookUp(subject: string, schema: string): Answer {
    const ids = this.subjects.get(subject);
    if (ids === undefined) return subjectMissing(subject);
    const id = ids.find((known) => this.texts.get(known) === schema);
    return id === undefined ? refused(404, 40403, 'Schema not found') : ok({ subject, id, schema });
  }

  #register(subject: string, schema: string): Answer {
    if (!isAvro(schema)) return refused(422, 42201, 'Input schema is an invalid Avro schema');
    const level = this.levels.get(subject) ?? this.globalLevel;
    const problem = level === 'NONE' ? null : this.#problemOf(subject, schema);
    if (problem !== null) {
      const message = `Schema being registered is incompatible with an earlier schema for subject "${subject}", details: [${problem}, {oldSchemaVersion: 1}, {oldSchema: 'secret'}]`;
      return refused(409, 409, message);
    }
    return ok({ id: this.put(subject, schema) });
  }

  #problemOf(subject: string, schema: string): string | null {
    const newest = this.subjects.get(subject)?.at(-1);
    if (newest === undefined) return null;
    const before = rowFields(JSON.parse(this.texts.get(newest) ?? 'null'));
    const after = rowFields(JSON.parse(schema));
    const name = [...after].find(([field, hasDefault]) => !before.has(field) && !hasDefault)?.[0];
    return name === undefined
      ? null
      : `{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field "${name}" has no default'}`;
  }
}

function isAvro(schema: string): boolean {
  try {
    const parsed: unknown = JSON.parse(schema);
    return (
      typeof parsed === 'string' ||
      (parsed !== null && typeof parsed === 'object' && 'type' in parsed)
    );
  } catch {
    return false;
  }
}

/** Fields of a record and of the records in it, and whether they have a default. */
function rowFields(schema: unknown, found = new Map<string, boolean>()): Map<string, boolean> {
  if (Array.isArray(schema)) for (const branch of schema) rowFields(branch, found);
  if (schema === null || typeof schema !== 'object' || !('fields' in schema)) return found;
  for (const field of schema.fields as { name: string; type: unknown; default?: unknown }[]) {
    found.set(field.name, 'default' in field);
    rowFields(field.type, found);
  }
  return found;
}
