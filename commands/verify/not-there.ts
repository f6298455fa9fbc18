import { PipelineError } from '../../runtime/errors.ts';
import type { PositionText } from '../../schemas/position.ts';

/** The lake did not get to the position that it is to be compared at. */
export function notThere(where: {
  readonly until: PositionText;
  readonly applied: PositionText;
  readonly waitedMs: number;
}): PipelineError {
  const { until, applied, waitedMs } = where;
  const message = `the lake is at ${applied} and did not reach ${until} within ${waitedMs / 1000} s`;
  const hint = 'is capture running? see `tributary status`';
  return new PipelineError('sink-failed', message, { hint });
}
