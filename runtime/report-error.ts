import { PipelineError } from './errors.ts';
import { createRedact, type Redact } from './redact.ts';

/** A second Ctrl-C, or a drain that outlasted its grace: 128 + SIGINT, as shells count. */
export const interruptedExitCode = 130;
/** A defect of the program itself. */
const defectExitCode = 1;
const causesMax = 5;

/** What a failure comes to outside the process. */
export interface ErrorReport {
  readonly kind: string;
  readonly message: string;
  readonly hint: string;
  /** Messages of the causes, nearest first. */
  readonly causes: readonly string[];
  readonly context: Readonly<Record<string, unknown>>;
  readonly exit: number;
}

/** Describes any error; no secret passes. */
export function reportError(error: unknown, redact: Redact = createRedact()): ErrorReport {
  const causes = causesOf(error).map(redact);
  if (error instanceof PipelineError) {
    const { kind, message, hint, context, policy } = error;
    const safeContext = JSON.parse(redact(JSON.stringify(context, stringifyValue))) as Readonly<
      Record<string, unknown>
    >;
    return {
      kind,
      message: redact(message),
      hint: redact(hint),
      causes,
      context: safeContext,
      exit: policy.exit,
    };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    kind: 'defect',
    message: redact(stack),
    hint: 'this is a defect of the program: please report it with these lines',
    causes,
    context: {},
    exit: defectExitCode,
  };
}

/** For people: what failed, why, and what to type. */
export function renderReport(report: ErrorReport): string {
  // A usage error's hint is a command line of its own: "Try: …".
  const isUsage = report.kind === 'usage';
  const kind = isUsage ? '' : ` (${report.kind})`;
  const isBlock = report.message.includes('\n');
  return [
    isBlock ? `error${kind}:\n${report.message}` : `error: ${report.message}${kind}`,
    ...report.causes.map((cause) => `  because: ${cause}`),
    isUsage ? report.hint : `  hint: ${report.hint}`,
    '',
  ].join('\n');
}

/** For programs: one line of JSON. */
export function renderReportJson(report: ErrorReport): string {
  return `${JSON.stringify({ error: report })}\n`;
}

function causesOf(error: unknown): string[] {
  const causes: string[] = [];
  let current: unknown = error instanceof Error ? error.cause : undefined;
  while (current !== undefined && causes.length < causesMax) {
    causes.push(messageOf(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  // A translated error often quotes its cause: said once is enough.
  const said = error instanceof Error ? error.message : '';
  return causes.filter((cause) => cause !== '' && !said.includes(cause));
}

/** Connection failures over several addresses come as an AggregateError with an empty message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((inner) => messageOf(inner)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

const stringifyValue = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;
