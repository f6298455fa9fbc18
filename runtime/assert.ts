/**
 * Checks an invariant of our own code. A failure is a defect, never bad input: bad input gets a
 * PipelineError with a hint.
 */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${invariant}`);
}
