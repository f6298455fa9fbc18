import type { Log } from '../../log/log.ts';
import type { Sink } from '../../sinks/sink.ts';
import type { Membership } from '../../sinks/workers/membership.ts';

/** A process that can be frozen as SIGSTOP does: whatever it is about to do next waits until the thaw. */
export class Freezer {
  #thawed: Promise<void> | null = null;
  #thaw: (() => void) | null = null;

  freeze(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#thawed ??= promise;
    this.#thaw ??= resolve;
  }

  thaw(): void {
    this.#thaw?.();
    this.#thaw = null;
    this.#thawed = null;
  }

  async pass<T>(use: () => Promise<T>): Promise<T> {
    await this.#thawed;
    const result = await use();
    await this.#thawed;
    return result;
  }

  log(log: Log): Log {
    return {
      createTopics: (specs) => this.pass(() => log.createTopics(specs)),
      append: (batches) => this.pass(() => log.append(batches)),
      read: (from, limits) => this.pass(() => log.read(from, limits)),
      lastRecord: (partition) => this.pass(() => log.lastRecord(partition)),
      ranges: (topics) => this.pass(() => log.ranges(topics)),
      // Belongs to the test.
      close: async () => {},
    };
  }

  sink(sink: Sink): Sink {
    return {
      open: () => this.pass(() => sink.open()),
      evolve: (version) => this.pass(() => sink.evolve(version)),
      apply: (batch) => this.pass(() => sink.apply(batch)),
      lend: (use) => sink.lend(use),
      close: () => this.pass(() => sink.close()),
    };
  }

  membership(membership: Membership): Membership {
    return {
      announce: (member) => this.pass(() => membership.announce(member)),
      members: () => this.pass(() => membership.members()),
      remove: (id) => this.pass(() => membership.remove(id)),
      close: () => this.pass(() => membership.close()),
    };
  }
}
