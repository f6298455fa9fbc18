import type { ColumnFamily } from './column-family.ts';

/** One source table as the lake holds it, read from the columns of its `T__changes`. */
export interface LakeTable {
  /** The source's names. */
  readonly schema: string;
  readonly name: string;
  /** Where the lake keeps its changes: schema (BigQuery: dataset) and table. */
  readonly stored: { readonly schema: string; readonly changes: string };
  /** The source's own columns, in the lake's order. */
  readonly columns: readonly LakeColumn[];
  /** The `_cdc_` columns by name. */
  readonly meta: Readonly<Record<string, ColumnFamily>>;
  /** Where the table was created again or got another key, oldest first: what is below lives no more. */
  readonly floors: readonly LakeFloor[];
  /** What is above is not for readers yet; left out where the lake shows nothing of that. */
  readonly cut?: string;
}

export interface LakeColumn {
  /** The source's name. */
  readonly name: string;
  /** Of its values in staging: text where its places differ in type. */
  readonly family: ColumnFamily;
  /** The lake's columns that hold it, newest first: a second one after a retype that it could not follow. */
  readonly places: readonly LakePlace[];
  /** Some row has a value that its place cannot hold, so that its text is in `_cdc_exact`. */
  readonly hasExact: boolean;
}

export interface LakePlace {
  readonly name: string;
  readonly family: ColumnFamily;
  /** SQL of the constant that rows before a position read, because the column came after them. */
  readonly missing: { readonly sql: string; readonly before: string } | null;
}

export interface LakeFloor {
  /** Position of the first change above it. */
  readonly seq: string;
  /** When the lake noted it, in ISO 8601. */
  readonly notedAt: string;
}
