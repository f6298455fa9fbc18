/** HTTP status of each reason. https://cloud.google.com/bigquery/docs/error-messages */
export const reasonStatus = {
  invalid: 400,
  invalidQuery: 400,
  badRequest: 400,
  resourcesExceeded: 400,
  authError: 401,
  accessDenied: 403,
  billingNotEnabled: 403,
  quotaExceeded: 403,
  rateLimitExceeded: 403,
  responseTooLarge: 403,
  notFound: 404,
  duplicate: 409,
  conditionNotMet: 412,
  tooManyRequests: 429,
  internalError: 500,
  notImplemented: 501,
  backendError: 503,
  stopped: 200,
} as const;

export type Reason = keyof typeof reasonStatus;

/** One entry of BigQuery's `errors` and `errorResult`. */
export interface ErrorProto {
  readonly reason: string;
  readonly message: string;
  readonly location?: string;
}

/** An error as BigQuery tells it: with a reason that clients decide by. */
export class ServiceError extends Error {
  readonly reason: Reason;
  readonly location: string | undefined;

  constructor(reason: Reason, message: string, location?: string) {
    super(message);
    this.reason = reason;
    this.location = location;
  }

  get status(): number {
    return reasonStatus[this.reason];
  }

  proto(): ErrorProto {
    const { reason, message, location } = this;
    return location === undefined ? { reason, message } : { reason, message, location };
  }
}

/** The body of an HTTP answer that reports an error. */
export function errorBody(status: number, proto: ErrorProto): object {
  const { message } = proto;
  return { error: { code: status, message, errors: [{ domain: 'global', ...proto }] } };
}
