import type { Lsn } from '../schemas/lsn.ts';
import { failpoint } from './failpoint.ts';

export interface ConfirmInput {
  /** Every change that committed before it is durable in the log, and the progress record says so. */
  readonly durableLsn: Lsn;
  /** The snapshot's limit; null when it sets none. */
  readonly ceilingLsn: Lsn | null;
  /** What PostgreSQL was told last. */
  readonly confirmedLsn: Lsn;
}

/**
 * The LSN that PostgreSQL may be told: never above what is durable, never above the snapshot's
 * ceiling, never below what it was told before. PostgreSQL forgets what lies below.
 */
export function confirmableLsn({ durableLsn, ceilingLsn, confirmedLsn }: ConfirmInput): Lsn {
  const limit = ceilingLsn !== null && ceilingLsn < durableLsn ? ceilingLsn : durableLsn;
  return limit > confirmedLsn ? limit : confirmedLsn;
}

export interface ConfirmerOptions {
  readonly durableLsn: Lsn;
  readonly confirmedLsn: Lsn;
  readonly ceilingLsn: () => Lsn | null;
  /** Tells PostgreSQL. */
  readonly confirm: (lsn: Lsn, durableLsn: Lsn) => void;
}

/** Keeps what is durable and what was confirmed; the only place that confirms. */
export class Confirmer {
  readonly #options: ConfirmerOptions;
  #durableLsn: Lsn;
  #confirmedLsn: Lsn;

  constructor(options: ConfirmerOptions) {
    this.#options = options;
    this.#durableLsn = options.durableLsn;
    this.#confirmedLsn = options.confirmedLsn;
  }

  /** Data, watermark and progress record up to `lsn` are durable. */
  durable(lsn: Lsn): void {
    if (lsn > this.#durableLsn) this.#durableLsn = lsn;
    this.refresh();
  }

  /** The ceiling may have risen. */
  refresh(): void {
    const lsn = confirmableLsn({
      durableLsn: this.#durableLsn,
      ceilingLsn: this.#options.ceilingLsn(),
      confirmedLsn: this.#confirmedLsn,
    });
    if (lsn === this.#confirmedLsn) return;
    this.#confirmedLsn = lsn;
    this.#options.confirm(lsn, this.#durableLsn);
    failpoint('confirm');
  }
}
