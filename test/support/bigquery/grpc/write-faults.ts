/** What goes wrong with a Storage Write call, and on which side of the work. */
export type WriteFault =
  /** The call ends with a status; on AppendRows with it the connection. After the work it is a lost reply. */
  | { readonly kind: 'status'; readonly when: 'before' | 'after'; readonly code: number }
  /** All connections are reset. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  /** The request is refused inside an answer, and the connection stays. */
  | { readonly kind: 'refusal'; readonly code: number }
  /** The request is refused for these rows. */
  | { readonly kind: 'row-errors'; readonly rows: readonly number[] }
  /** Before the call the service ended the stream, because it was idle: it takes nothing more, or is gone. */
  | { readonly kind: 'expire'; readonly how: 'finalized' | 'forgotten' }
  /** The request is worked on only when this resolves. */
  | { readonly kind: 'hold'; readonly until: Promise<void> };

export type WriteCall = 'create' | 'append' | 'get' | 'finalize';

/** Which calls a fault meets; what is left out matches all. */
export interface WriteFaultRule {
  readonly call?: WriteCall;
  readonly stream?: RegExp;
  /** Matching calls that it lets pass first. */
  readonly skip?: number;
  /** How often it strikes; once if left out. */
  readonly times?: number;
  readonly fault: WriteFault;
}

/** Faults that a test has ordered, in their order. */
export class WriteFaults {
  #rules: { readonly rule: WriteFaultRule; skip: number; left: number }[] = [];

  add(rule: WriteFaultRule): void {
    this.#rules.push({ rule, skip: rule.skip ?? 0, left: rule.times ?? 1 });
  }

  /** Faults that have not struck yet. */
  get left(): number {
    return this.#rules.length;
  }

  clear(): void {
    this.#rules = [];
  }

  /** The first ordered fault for a call, which counts as struck. */
  take(call: WriteCall, stream: string): WriteFault | undefined {
    const found = this.#rules.find(
      ({ rule }) => (rule.call ?? call) === call && (rule.stream?.test(stream) ?? true),
    );
    if (found === undefined) return undefined;
    if (found.skip > 0) {
      found.skip -= 1;
      return undefined;
    }
    found.left -= 1;
    if (found.left === 0) this.#rules = this.#rules.filter((entry) => entry !== found);
    return found.rule.fault;
  }
}
