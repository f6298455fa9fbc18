import { PipelineError } from '../../runtime/errors.ts';
import type { AvroOutput, TextSpan } from './avro-output.ts';

/**
 * What became of a value. 0: Avro holds it exactly. 1: what was written is the nearest that the Avro
 * type can say; the exact text must go beside it. 2: nothing was written, for nothing is near.
 */
export type Outcome = 0 | 1 | 2;

export const exact: Outcome = 0;
export const approximate: Outcome = 1;
export const unrepresentable: Outcome = 2;

/** Writes PostgreSQL's text of a value as Avro, without its union. Room for it was reserved. */
export type ValueWriter = (output: AvroOutput, text: TextSpan) => Outcome;

/** The error for text that PostgreSQL cannot have written. Never says the text itself. */
export function invalidText(kind: string, text: TextSpan): PipelineError {
  return new PipelineError(
    'value-invalid',
    `a value of ${text.end - text.start} bytes is no ${kind} as PostgreSQL writes it`,
    { hint: 'check datestyle, intervalstyle, bytea_output and timezone of the session' },
  );
}
