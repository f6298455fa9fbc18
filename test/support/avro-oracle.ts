import avsc, { type Schema, type Type } from 'avsc';
import type { AvroSchema } from '../../schemas/type-mapping.ts';

/**
 * avsc as the independent judge of our Avro bytes. Its own long refuses what lies beyond 2^53, which
 * every `ts_ns` does, so all longs are BigInt here; unions are always explicit: `{string: "x"}`.
 */
export function oracleType(schema: AvroSchema): Type {
  return avsc.Type.forSchema(schema as Schema, {
    wrapUnions: true,
    typeHook: (node) => (isLong(node) ? bigLong : undefined),
  });
}

const isLong = (node: unknown): boolean =>
  node === 'long' ||
  (typeof node === 'object' && node !== null && Reflect.get(node, 'type') === 'long');

const bigLong = avsc.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: (value: number | string) => BigInt(value),
  toJSON: (value: bigint) => value.toString(),
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (left: bigint, right: bigint) => Number(left > right) - Number(left < right),
});
