/** What a line of dbt's log says of the build. */
export interface DbtEvent {
  readonly level: string;
  /** The name of the model or test that is done, else dbt's words. */
  readonly message: string;
  /** A model or test is done. */
  readonly isResult: boolean;
  /** How many models and tests there are; 0 where the line does not say. */
  readonly total: number;
}

interface RawEvent {
  readonly info: { readonly level: string; readonly msg: string; readonly name: string };
  readonly data: {
    /** Of a model's result. */
    readonly total?: number;
    /** The same of a test's result. */
    readonly num_models?: number;
    readonly node_info?: { readonly node_name?: string };
  };
}

/**
 * One line of dbt's JSON log; null when it is something else.
 * The fields are those that dbt/events/types.py of dbt-core prints.
 */
export function readDbtEvent(line: string): DbtEvent | null {
  if (!line.startsWith('{')) return null;
  try {
    const { info, data } = JSON.parse(line) as RawEvent;
    const isResult = info.name === 'LogModelResult' || info.name === 'LogTestResult';
    if (!isResult) return { level: info.level, message: info.msg, isResult, total: 0 };
    return {
      level: info.level,
      message: data.node_info?.node_name ?? info.msg,
      isResult,
      total: data.total ?? data.num_models ?? 0,
    };
  } catch {
    return null;
  }
}
