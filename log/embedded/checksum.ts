import { crc32 } from 'node:zlib';

/** Where a batch belongs; part of its checksum, so that a batch in a wrong place is noticed too. */
export interface BatchPlace {
  readonly partitionId: number;
  readonly baseOffset: number;
  readonly recordCount: number;
}

/** CRC-32 of a batch's place and bytes. */
export function batchChecksum(place: BatchPlace, bytes: Uint8Array): number {
  return crc32(bytes, crc32(`${place.partitionId}/${place.baseOffset}/${place.recordCount}`));
}
