/** Sizes and times of the chunk reader. */
export interface SnapshotLimits {
  /** A range is chosen so that it has about at most so many rows … */
  readonly chunkRowsMax: number;
  /** … and bytes of text; twice as many end the reading of the chunk, unless it is one block. */
  readonly chunkBytesMax: number;
  /** A table without a key is read in one piece: bytes of text that this may take. */
  readonly wholeBytesMax: number;
  /** Changes that may stream by while a table without a key is read. */
  readonly spoolBytesMax: number;
  readonly repairKeysMax: number;
  /** How long a chunk may wait for its table's lock, and take to read. */
  readonly lockTimeoutMs: number;
  readonly readTimeoutMs: number;
  /** Pause before a chunk is read again because a streamed transaction is not visible yet. */
  readonly rereadPauseMs: number;
  /** How often streamed transactions are looked up while they hold back the confirmed LSN. */
  readonly visibilityPollMs: number;
  /** Failures that last longer than this end the snapshot. */
  readonly giveUpAfterMs: number;
  readonly retryPauseMs: number;
  readonly retryPauseMaxMs: number;
  /** How often in a row a chunk may be void because the table's columns changed. */
  readonly describeAttemptsMax: number;
}

export const defaultSnapshotLimits: SnapshotLimits = {
  chunkRowsMax: 50_000,
  chunkBytesMax: 16 * 1024 * 1024,
  wholeBytesMax: 512 * 1024 * 1024,
  spoolBytesMax: 64 * 1024 * 1024,
  repairKeysMax: 1_000,
  lockTimeoutMs: 5_000,
  readTimeoutMs: 300_000,
  rereadPauseMs: 5,
  visibilityPollMs: 50,
  giveUpAfterMs: 60_000,
  retryPauseMs: 100,
  retryPauseMaxMs: 5_000,
  describeAttemptsMax: 20,
};

const blocksFirst = 64;
const blocksMax = 1 << 20;
const growthMax = 4;
/** A chunk aims below its limits, so that denser blocks still fit. */
const aim = 0.8;

/** How many blocks the next chunk of a table gets, learnt from the last one. */
export class ChunkSize {
  readonly #limits: Pick<SnapshotLimits, 'chunkRowsMax' | 'chunkBytesMax'>;
  #blocks = blocksFirst;

  constructor(limits: Pick<SnapshotLimits, 'chunkRowsMax' | 'chunkBytesMax'>) {
    this.#limits = limits;
  }

  get blocks(): number {
    return this.#blocks;
  }

  read(chunk: { readonly blocks: number; readonly rows: number; readonly bytes: number }): void {
    const { chunkRowsMax, chunkBytesMax } = this.#limits;
    const fill = Math.max(chunk.rows / chunkRowsMax, chunk.bytes / chunkBytesMax);
    const factor = Math.min(growthMax, fill === 0 ? growthMax : aim / fill);
    this.#blocks = Math.min(blocksMax, Math.max(1, Math.floor(chunk.blocks * factor)));
  }

  tooLarge(blocks: number): void {
    this.#blocks = Math.max(1, Math.floor(blocks / growthMax));
  }
}
