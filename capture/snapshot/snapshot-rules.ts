/** The rules of the fenced chunk that can be switched off, so that a test can show that each is needed. */
export interface SnapshotRules {
  /** 2: read again when a transaction streamed before the memory began is not visible. */
  readonly reread: boolean;
  /** 4: put the remembered columns over the row. */
  readonly overlay: boolean;
  readonly skipDeleted: boolean;
  readonly skipReplaced: boolean;
  readonly skipComplete: boolean;
  /** A truncate voids what was remembered before it and all that the chunk read. */
  readonly truncate: boolean;
  /** 5: keys with unchanged columns are read again. */
  readonly repair: boolean;
  /** A rewrite of the table's files moves rows without a row event: begin again. */
  readonly storage: boolean;
  /** 6, after a crash: nothing is confirmed before all that ran at the new beginning has ended. */
  readonly elders: boolean;
}

export const allRules: SnapshotRules = {
  reread: true,
  overlay: true,
  skipDeleted: true,
  skipReplaced: true,
  skipComplete: true,
  truncate: true,
  repair: true,
  storage: true,
  elders: true,
};
