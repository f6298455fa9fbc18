import { readFile } from 'node:fs/promises';
import path from 'node:path';

export type NodeStatus = 'success' | 'warn' | 'failed' | 'error' | 'skipped';

export interface NodeResult {
  readonly name: string;
  readonly kind: 'model' | 'test' | 'other';
  readonly status: NodeStatus;
  readonly seconds: number;
  /** "schema.table" for a model. */
  readonly relation: string | null;
  /** What dbt said of a node that did not succeed, without values. */
  readonly message: string | null;
}

interface RawResult {
  readonly unique_id: string;
  readonly status: string;
  readonly execution_time: number;
  readonly message: string | null;
  readonly failures: number | null;
  readonly relation_name: string | null;
}

const messageLettersMax = 600;

/** Reads `run_results.json` of a target folder; null when dbt did not get that far. */
export async function readRunResults(targetFolder: string): Promise<readonly NodeResult[] | null> {
  const text = await readFile(path.join(targetFolder, 'run_results.json'), 'utf8').catch(
    () => null,
  );
  if (text === null) return null;
  const { results } = JSON.parse(text) as { results: readonly RawResult[] };
  return results.map(nodeResult);
}

function nodeResult(raw: RawResult): NodeResult {
  const [kind = '', , name = raw.unique_id] = raw.unique_id.split('.');
  const status = statusOf(raw.status);
  return {
    name,
    kind: kind === 'model' || kind === 'test' ? kind : 'other',
    status,
    seconds: raw.execution_time,
    relation: relationOf(raw.relation_name),
    message: status === 'success' ? null : withoutValues(raw.message ?? raw.status),
  };
}

function statusOf(status: string): NodeStatus {
  if (status === 'success' || status === 'pass' || status === 'partial success') return 'success';
  if (status === 'warn') return 'warn';
  if (status === 'fail') return 'failed';
  return status === 'skipped' ? 'skipped' : 'error';
}

/** `"lake"."analytics"."dim_masters"` → `analytics.dim_masters` */
function relationOf(relation: string | null): string | null {
  if (relation === null) return null;
  return relation.replaceAll(/["`]/g, '').split('.').slice(-2).join('.');
}

/** Engines quote the value that they could not convert; names are in double quotes. */
export function withoutValues(message: string): string {
  return message
    .replaceAll(/'[^'\n]*'/g, "'…'")
    .trim()
    .slice(0, messageLettersMax);
}
