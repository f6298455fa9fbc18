import type { AppendAnswer, AppendCall, AppendMessage } from './storage-client.ts';
import { StorageFailure } from './storage-errors.ts';

export interface ConnectionLimits {
  /** How long no answer may come while one is due. */
  readonly ackTimeoutMs: number;
  readonly requestsInFlightMax: number;
}

/** One connection for appends to a stream. Answers come in the order of the requests. */
export class AppendConnection {
  readonly #call: AppendCall;
  readonly #limits: ConnectionLimits;
  readonly #answers: AppendAnswer[] = [];
  #end: StorageFailure | undefined;
  #wake: () => void = () => undefined;

  /** `failure` reads what the call failed with. */
  constructor(
    call: AppendCall,
    limits: ConnectionLimits,
    failure: (error: unknown) => StorageFailure,
  ) {
    this.#call = call;
    this.#limits = limits;
    call.on('data', (answer: AppendAnswer) => {
      this.#answers.push(answer);
      this.#wake();
    });
    call.on('error', (error: unknown) => this.#ended(failure(error)));
    const gone = new StorageFailure({ code: 'UNAVAILABLE', message: 'the service hung up' });
    for (const event of ['end', 'close']) call.on(event, () => this.#ended(gone));
  }

  /** False when requests can no longer be sent: the service closes idle connections. */
  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /**
   * Sends requests in their order, a bounded number ahead of their answers, until all are answered. Throws
   * `StorageFailure` when the connection ends, and what `onAnswer` throws; after it the connection is of no use.
   */
  async send(
    messages: Iterable<AppendMessage>,
    onAnswer: (answer: AppendAnswer) => void,
  ): Promise<void> {
    let dueCount = 0;
    for (const message of messages) {
      for (; dueCount >= this.#limits.requestsInFlightMax; dueCount -= 1) {
        onAnswer(await this.#answer());
      }
      if (this.#end !== undefined) break;
      this.#call.write(message);
      dueCount += 1;
    }
    for (; dueCount > 0; dueCount -= 1) onAnswer(await this.#answer());
    if (this.#end !== undefined) throw this.#end;
  }

  /** Ends it without waiting for answers. */
  close(): void {
    this.#ended(new StorageFailure({ code: 'CANCELLED', message: 'the connection was closed' }));
    this.#call.cancel();
    this.#call.destroy();
  }

  #ended(failure: StorageFailure): void {
    this.#end ??= failure;
    this.#wake();
  }

  async #answer(): Promise<AppendAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { ackTimeoutMs } = this.#limits;
    const late = `no answer within ${ackTimeoutMs} ms`;
    const timer = setTimeout(
      () => reject(new StorageFailure({ code: 'DEADLINE_EXCEEDED', message: late })),
      ackTimeoutMs,
    );
    this.#wake = resolve;
    try {
      if (this.#answers.length === 0 && this.#end === undefined) await promise;
    } finally {
      clearTimeout(timer);
    }
    const answer = this.#answers.shift();
    if (answer !== undefined) return answer;
    throw this.#end ?? new StorageFailure({ code: 'UNAVAILABLE', message: 'no answer' });
  }
}
