import { setTimeout as sleep } from 'node:timers/promises';
import { backoffDelayMs } from '../../runtime/retry.ts';
import type { LakePlace } from './errors.ts';
import { errorOfStatus, StorageFailure, verdictOf } from './storage-errors.ts';

export interface AttemptLimits {
  /** Failures in a row, without anything taken between them. */
  readonly attemptsMax: number;
  readonly pauseMsMax: number;
  /** First pause when the service is asked too much. */
  readonly exhaustedPauseMs: number;
  /** How long a table or stream that was made a moment ago may stay unknown. */
  readonly foundWithinMs: number;
  /** How long a column that was added a moment ago may stay unknown to a stream. */
  readonly visibleWithinMs: number;
}

const firstDelayMs = 100;

/** Decides after each failure of one piece of work whether it is tried again, and waits before. */
export class WriteAttempts {
  readonly #place: LakePlace;
  readonly #limits: AttemptLimits;
  readonly #signal: AbortSignal;
  #failures = 0;
  #deniedCount = 0;
  #unknownSinceMs: number | undefined;

  constructor(place: LakePlace, limits: AttemptLimits, signal: AbortSignal) {
    this.#place = place;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Something was taken: what failed before has passed. */
  progressed(): void {
    this.#failures = 0;
    this.#deniedCount = 0;
    this.#unknownSinceMs = undefined;
  }

  /** Resolves when it is time for the next attempt; throws the translated error when there is none. */
  async failed(error: unknown): Promise<void> {
    if (!(error instanceof StorageFailure)) throw error;
    const delayMs = this.#signal.aborted ? undefined : this.#delayMs(error);
    if (delayMs === undefined) throw errorOfStatus(error.status, this.#place);
    this.#failures += 1;
    await sleep(delayMs, undefined, { signal: this.#signal }).catch(() => {
      throw errorOfStatus(error.status, this.#place);
    });
  }

  /** undefined: no further attempt. */
  #delayMs({ status }: StorageFailure): number | undefined {
    const { attemptsMax, exhaustedPauseMs, foundWithinMs, pauseMsMax, visibleWithinMs } =
      this.#limits;
    const pause = (first: number) =>
      backoffDelayMs(this.#failures, { firstDelayMs: first, longestDelayMs: pauseMsMax });
    const verdict = verdictOf(status);
    switch (verdict) {
      case 'unknown-yet': {
        this.#unknownSinceMs ??= performance.now();
        const withinMs = status.code === 'NOT_FOUND' ? foundWithinMs : visibleWithinMs;
        return performance.now() - this.#unknownSinceMs < withinMs
          ? pause(firstDelayMs)
          : undefined;
      }
      case 'anew':
        this.#deniedCount += 1;
        return this.#deniedCount > 1 ? undefined : 0;
      case 'again':
        if (this.#failures + 1 >= attemptsMax) return undefined;
        return this.#failures === 0 ? 0 : pause(firstDelayMs);
      case 'later':
        return this.#failures + 1 >= attemptsMax ? undefined : pause(exhaustedPauseMs);
      case 'taken':
      case 'refused':
        return undefined;
      default:
        return verdict satisfies never;
    }
  }
}
