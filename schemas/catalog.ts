/**
 * What the catalog of a PostgreSQL database says about its tables: the input of discovery, `init`,
 * `check` and capture. Read by capture/postgres/catalog.ts.
 */
export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** 'r' ordinary, 'p' partitioned root. Leaves of a partitioned root are not listed. */
  readonly kind: 'r' | 'p';
  readonly columns: readonly CatalogColumn[];
  /** Columns of the primary key in key order; empty without one. */
  readonly primaryKey: readonly string[];
  /** Columns of the replica identity index when REPLICA IDENTITY USING INDEX. */
  readonly identityIndex: readonly string[];
  readonly replicaIdentity: 'default' | 'full' | 'index' | 'nothing';
  readonly foreignKeys: readonly CatalogForeignKey[];
  /** Columns of every unique index, the primary key's included. */
  readonly uniqueKeys: readonly (readonly string[])[];
  readonly rowEstimate: number;
  readonly bytes: number;
  readonly comment: string | null;
}

export interface CatalogColumn {
  readonly name: string;
  readonly attnum: number;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** As `format_type` prints it. */
  readonly pgType: string;
  readonly nullable: boolean;
  readonly defaultExpression: string | null;
  readonly missingValue: string | null;
  /** Virtual columns are computed when they are read: they are never streamed. */
  readonly generated: 'stored' | 'virtual' | null;
  readonly comment: string | null;
}

export interface CatalogForeignKey {
  readonly columns: readonly string[];
  readonly targetSchema: string;
  readonly targetTable: string;
  readonly targetColumns: readonly string[];
  readonly onDelete: 'cascade' | 'restrict' | 'set null' | 'set default' | 'no action';
}

/** A type as pg_type has it, enough to decide a LogicalType. */
export interface CatalogType {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** b base, c composite, d domain, e enum, p pseudo, r range, m multirange. */
  readonly kind: string;
  readonly category: string;
  /** Element type of a true array, else 0. */
  readonly elementOid: number;
  /** Base type and modifier of a domain, else 0 and -1. */
  readonly baseOid: number;
  readonly baseTypeModifier: number;
  readonly enumLabels: readonly string[];
}
