import { type ErrorProto, type Reason, ServiceError } from './service-error.ts';
import type { Store } from './store.ts';

/** What goes wrong, and on which side of the work. */
export type Fault =
  | {
      readonly kind: 'error';
      readonly when: 'before' | 'after';
      readonly reason: Reason;
      readonly message?: string;
    }
  /** The connection is reset; after the work it is a lost reply. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'after' }
  /** The request is worked on only when this resolves. */
  | { readonly kind: 'hold'; readonly until: Promise<void> }
  /** The job ends with this and does nothing. */
  | { readonly kind: 'job-error'; readonly error: ErrorProto }
  /** The job runs only when this resolves. */
  | { readonly kind: 'hold-job'; readonly until: Promise<void> }
  /** jobs.query answers 200 with `errors` and no rows. */
  | { readonly kind: 'errors-in-200'; readonly error: ErrorProto };

/** Which requests a fault meets; what is left out matches all. */
export interface FaultRule {
  readonly method?: string;
  readonly path?: RegExp;
  readonly jobKind?: 'query' | 'load';
  readonly sql?: RegExp;
  /** How often it strikes; once if left out. */
  readonly times?: number;
  readonly fault: Fault;
}

export interface RequestFacts {
  readonly method: string;
  readonly path: string;
  readonly jobKind?: 'query' | 'load';
  readonly sql?: string;
}

/** Faults that a test has ordered, in their order. */
export class Faults {
  #rules: { readonly rule: FaultRule; left: number }[] = [];

  add(rule: FaultRule): void {
    this.#rules.push({ rule, left: rule.times ?? 1 });
  }

  /** Faults that have not struck yet: a test asks that none is left. */
  get left(): number {
    return this.#rules.length;
  }

  /** The first ordered fault for a request, which counts as struck. */
  take(facts: RequestFacts): Fault | undefined {
    const found = this.#rules.find(({ rule }) => matches(rule, facts));
    if (found === undefined) return undefined;
    found.left -= 1;
    if (found.left === 0) this.#rules = this.#rules.filter((entry) => entry !== found);
    return found.rule.fault;
  }
}

const matches = ({ jobKind, method, path, sql }: FaultRule, facts: RequestFacts): boolean =>
  (method === undefined || method === facts.method) &&
  (path === undefined || path.test(facts.path)) &&
  (jobKind === undefined || jobKind === facts.jobKind) &&
  (sql === undefined || (facts.sql !== undefined && sql.test(facts.sql)));

/** Limits of BigQuery that are counted by table. https://cloud.google.com/bigquery/quotas */
export interface QuotaLimits {
  readonly loadsPerDayMax: number;
  readonly metadataUpdatesPer10sMax: number;
}

export const quotaLimits: QuotaLimits = { loadsPerDayMax: 1500, metadataUpdatesPer10sMax: 5 };

/** Counts what quotas limit, by the store's clock. */
export class Quotas {
  readonly #now: () => number;
  readonly #limits: QuotaLimits;
  readonly #uses = new Map<string, number[]>();

  constructor(store: Store, limits: QuotaLimits) {
    this.#now = store.now;
    this.#limits = limits;
  }

  /** Counts a load job; throws `quotaExceeded` for one too many in a day. */
  load(table: string): void {
    if (this.#isTooMany(`load ${table}`, 86_400_000, this.#limits.loadsPerDayMax)) {
      throw new ServiceError(
        'quotaExceeded',
        `Quota exceeded: Your table exceeded quota for imports or query appends per table: ${table}`,
        'load_job_per_table.long',
      );
    }
  }

  /** Counts a change of a table's metadata; throws `rateLimitExceeded` for one too many in 10 seconds. */
  update(table: string): void {
    if (this.#isTooMany(`update ${table}`, 10_000, this.#limits.metadataUpdatesPer10sMax)) {
      throw new ServiceError(
        'rateLimitExceeded',
        `Exceeded rate limits: too many table update operations for this table: ${table}`,
      );
    }
  }

  #isTooMany(key: string, windowMs: number, max: number): boolean {
    const now = this.#now();
    const recent = (this.#uses.get(key) ?? []).filter((at) => at > now - windowMs);
    const isTooMany = recent.length >= max;
    this.#uses.set(key, [...recent, now]);
    return isTooMany;
  }
}
