import type { TableSchema } from '../../schemas/table-schema.ts';
import type { KeyText } from './change-effect.ts';

/** What one chunk reads. */
export type ChunkPlan =
  | {
      readonly kind: 'range';
      readonly table: TableSchema;
      /** First block, and the block after the last. */
      readonly from: number;
      readonly to: number;
    }
  | { readonly kind: 'keys'; readonly table: TableSchema; readonly keys: readonly KeyText[] }
  /** A table without a key. */
  | { readonly kind: 'whole'; readonly table: TableSchema };

/** Whether two versions of a table have the same columns and key, so that their tuples mean the same. */
export function isSameShape(one: TableSchema, other: TableSchema): boolean {
  if (one === other) return true;
  return (
    one.columns.length === other.columns.length &&
    one.columns.every((column, at) => {
      const twin = other.columns[at];
      return column.name === twin?.name && column.pgType === twin.pgType;
    }) &&
    one.key.join('\0') === other.key.join('\0')
  );
}
