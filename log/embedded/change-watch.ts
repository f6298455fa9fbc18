/** How soon a waiting reader looks again after something was written ... */
const pollFastMs = 2;
/** ... and at most when nothing has been for a while. A look takes 3 µs. */
const pollIdleMs = 20;
const pollSlowdown = 1.5;

interface Waiter {
  readonly since: number;
  readonly wake: () => void;
}

/**
 * Wakes readers when the log has changed: one timer for all that wait, none when nobody waits.
 * Changes by other processes are seen by looking, our own by `poke`.
 */
export class ChangeWatch {
  readonly #version: () => number;
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;
  #pollMs = pollFastMs;

  /** `version` gives a number that differs after every change. */
  constructor(version: () => number) {
    this.#version = version;
  }

  /** Resolves when the version is another than `since`, `waitMs` have passed, or `signal` aborts. */
  async changed(since: number, waitMs: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { since, wake: () => resolve() };
    const deadline = setTimeout(waiter.wake, waitMs);
    signal?.addEventListener('abort', waiter.wake, { once: true });
    this.#waiters.add(waiter);
    this.#schedule();
    await promise;
    clearTimeout(deadline);
    signal?.removeEventListener('abort', waiter.wake);
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0) this.#stop();
  }

  /** Looks at once. */
  poke(): void {
    if (this.#waiters.size > 0) this.#look();
  }

  /** Wakes all that wait, whatever happened. */
  wakeAll(): void {
    for (const { wake } of this.#waiters) wake();
  }

  #look(): void {
    this.#stop();
    let version: number;
    try {
      version = this.#version();
    } catch {
      // Whoever waits reads again and meets the error where it can be reported.
      this.wakeAll();
      return;
    }
    const isQuiet = [...this.#waiters].every(({ since }) => since === version);
    this.#pollMs = isQuiet ? Math.min(this.#pollMs * pollSlowdown, pollIdleMs) : pollFastMs;
    for (const { since, wake } of this.#waiters) if (since !== version) wake();
    this.#schedule();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#look(), this.#pollMs);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
