import { expect } from 'vitest';

import type { CaptureBench } from '../integration/capture-harness.ts';

/**
 * Every partition rises strictly in position, no position comes twice, watermarks never fall, and each
 * one tells exactly which records are below its cut.
 */
export async function expectHonestLog(
  bench: CaptureBench,
  tables: readonly string[],
): Promise<void> {
  const partitions = new Map<string, string[]>();
  for (const table of tables) {
    const records = await bench.records(table);
    expect(new Set(records.map(({ seq }) => seq)).size).toBe(records.length);
    for (const { partition, offset, seq } of records.toSorted((a, b) => a.offset - b.offset)) {
      const name = `app.${table}/${partition}`;
      const seqs = partitions.get(name) ?? [];
      expect(offset).toBe(seqs.length);
      expect(seq > (seqs.at(-1) ?? '')).toBe(true);
      seqs.push(seq);
      partitions.set(name, seqs);
    }
  }
  const ends = new Map<string, number>();
  let cut = '';
  for (const watermark of await bench.watermarks()) {
    expect(watermark.cut >= cut).toBe(true);
    cut = watermark.cut;
    for (const [topic, list] of Object.entries(watermark.ends)) {
      for (const [partition, end] of list.entries()) ends.set(`${topic}/${partition}`, end);
    }
    for (const [name, seqs] of partitions) {
      const below = seqs.filter((seq) => seq <= watermark.cut).length;
      expect({ name, cut, end: ends.get(name) ?? 0 }).toEqual({ name, cut, end: below });
    }
  }
}
