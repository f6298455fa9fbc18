import type { MethodDefinition } from '@grpc/grpc-js';
import { protos } from '@google-cloud/bigquery-storage';

const v1 = protos.google.cloud.bigquery.storage.v1;

/** A request and how large it came. */
export interface SizedRequest {
  readonly request: protos.google.cloud.bigquery.storage.v1.AppendRowsRequest;
  readonly bytes: number;
}

interface Input<T> {
  decode(bytes: Uint8Array): T;
}
interface Output<T> {
  encode(message: T): { finish(): Uint8Array };
}

/** A method as a server needs it: it reads requests and writes answers. */
function method<In, Out>(name: string, input: Input<In>, output: Output<Out>) {
  return {
    path: `/google.cloud.bigquery.storage.v1.BigQueryWrite/${name}`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes: Buffer) => input.decode(bytes),
    responseSerialize: (message: Out) => Buffer.from(output.encode(message).finish()),
    requestSerialize: unused,
    responseDeserialize: unused,
  } satisfies MethodDefinition<In, Out>;
}

const unused = (): never => {
  throw new Error('only a client does this');
};

/** `google.cloud.bigquery.storage.v1.BigQueryWrite`; a method that is not here is UNIMPLEMENTED. */
export const writeMethods = {
  createWriteStream: method('CreateWriteStream', v1.CreateWriteStreamRequest, v1.WriteStream),
  getWriteStream: method('GetWriteStream', v1.GetWriteStreamRequest, v1.WriteStream),
  finalizeWriteStream: method(
    'FinalizeWriteStream',
    v1.FinalizeWriteStreamRequest,
    v1.FinalizeWriteStreamResponse,
  ),
  appendRows: {
    ...method('AppendRows', v1.AppendRowsRequest, v1.AppendRowsResponse),
    requestStream: true,
    responseStream: true,
    requestDeserialize: (bytes: Buffer): SizedRequest => ({
      request: v1.AppendRowsRequest.decode(bytes),
      bytes: bytes.length,
    }),
  },
};
