import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { protos } from '@google-cloud/bigquery-storage';
import type { Store } from '../store.ts';
import { AppendCall } from './append-call.ts';
import { StreamBook } from './stream-book.ts';
import { WriteError, writeErrorOf } from './write-error.ts';
import { type WriteCall, WriteFaults } from './write-faults.ts';
import { type SizedRequest, writeMethods } from './write-methods.ts';

type V1 = typeof protos.google.cloud.bigquery.storage.v1;
type CreateRequest = InstanceType<V1['CreateWriteStreamRequest']>;
interface NameRequest {
  readonly name: string;
}

const committed = protos.google.cloud.bigquery.storage.v1.WriteStream.Type.COMMITTED;
const tablePath = /^projects\/([^/]+)\/datasets\/([^/]+)\/tables\/([^/]+)$/;

/** The Storage Write half of the fake: COMMITTED and default streams. Other kinds are UNIMPLEMENTED. */
export class WriteService implements AsyncDisposable {
  readonly faults = new WriteFaults();
  readonly streams: StreamBook;
  readonly #server = new Server({ 'grpc.max_receive_message_length': -1 });
  #port = 0;

  constructor(store: Store) {
    const streams = new StreamBook(store);
    this.streams = streams;
    const { faults } = this;
    this.#server.addService(writeMethods, {
      createWriteStream: this.#unary('create', (request: CreateRequest) =>
        create(streams, request),
      ),
      getWriteStream: this.#unary('get', ({ name }: NameRequest) => {
        streams.tableOf(name);
        return { name, type: committed };
      }),
      finalizeWriteStream: this.#unary('finalize', async ({ name }: NameRequest) => ({
        rowCount: String(await streams.finalize(name)),
      })),
      appendRows: (call: ServerDuplexStream<SizedRequest, object>) => {
        const tools = { streams, faults, cut: () => this.cut() };
        void new AppendCall(tools, call).serve();
      },
    });
  }

  /** Listens on a free port of 127.0.0.1. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
    this.#port = await promise;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Resets all connections; new ones are taken. */
  cut(): void {
    this.#server.drain(this.address, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #unary<In extends object, Out>(
    name: WriteCall,
    work: (request: In) => Out | Promise<Out>,
  ): handleUnaryCall<In, Out> {
    return (call: ServerUnaryCall<In, Out>, respond) => {
      void this.#answer(name, call.request, work).then(
        (answer) => respond(null, answer),
        (error: unknown) => {
          const refusal = writeErrorOf(error, '');
          const bytes = protos.google.rpc.Status.encode(refusal.status()).finish();
          call.metadata.set('grpc-status-details-bin', Buffer.from(bytes));
          const { code, message } = refusal;
          const failure: Partial<ServiceError> = {
            code,
            details: message,
            metadata: call.metadata,
          };
          respond(failure);
        },
      );
    };
  }

  async #answer<In extends object, Out>(
    name: WriteCall,
    request: In,
    work: (request: In) => Out | Promise<Out>,
  ): Promise<Out> {
    const { name: stream = '', parent = stream } = request as { name?: string; parent?: string };
    const fault = this.faults.take(name, parent);
    const strike = (side: 'before' | 'after') => {
      if (fault === undefined || !('when' in fault) || fault.when !== side) return;
      if (fault.kind === 'cut') this.cut();
      const code = fault.kind === 'cut' ? status.UNAVAILABLE : fault.code;
      throw new WriteError(code, `Injected ${status[code]}`);
    };
    if (fault?.kind === 'hold') await fault.until;
    if (fault?.kind === 'expire') await this.streams.expire(stream, fault.how);
    strike('before');
    const answer = await work(request);
    strike('after');
    return answer;
  }
}

function create(streams: StreamBook, { parent, writeStream }: CreateRequest): object {
  const [, projectId = '', datasetId = '', tableId = ''] = tablePath.exec(parent) ?? [];
  if (writeStream?.type !== committed) {
    throw new WriteError(status.UNIMPLEMENTED, 'Only COMMITTED streams are in this stand-in');
  }
  return { name: streams.create({ projectId, datasetId, tableId }), type: committed };
}
