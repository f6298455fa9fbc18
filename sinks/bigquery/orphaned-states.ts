import type { LakeConnection } from './client.ts';

interface TableList {
  readonly tables?: readonly ListedTable[];
  readonly nextPageToken?: string;
}

export interface ListedTable {
  readonly tableReference: { readonly tableId: string };
  /** `TABLE`, `VIEW` and others. */
  readonly type: string;
}

/** A source table's `T__state`, and which table has its rows. */
export interface KeptState {
  readonly state: string;
  readonly place: string;
}

const tablesPerPage = 1_000;
/** After `T__state`: what `StateTables` adds for a new table. */
const suffix = /^_[0-9a-f]{8}_\d+$/;

/** All tables and views of the dataset: a request that is not billed. */
export async function listTables(lake: LakeConnection): Promise<readonly ListedTable[]> {
  const all: ListedTable[] = [];
  // Of the last page it is missing or, as Google's APIs may have it, empty (AIP-158).
  let pageToken = '';
  do {
    const answer: TableList = await lake.request<TableList>({
      method: 'GET',
      uri: `/datasets/${lake.dataset}/tables`,
      qs: { maxResults: tablesPerPage, ...(pageToken === '' ? {} : { pageToken }) },
    });
    all.push(...(answer.tables ?? []));
    pageToken = answer.nextPageToken ?? '';
  } while (pageToken !== '');
  return all;
}

/** Tables that once had, or were to have, the rows of these source tables, and do not have them. */
export function orphanedStates(
  listed: readonly ListedTable[],
  kept: readonly KeptState[],
): readonly string[] {
  const places = new Set(kept.map(({ place }) => place));
  return listed.flatMap(({ tableReference: { tableId }, type }) => {
    const isState = kept.some(
      ({ state }) =>
        tableId === state ||
        (tableId.startsWith(state) && suffix.test(tableId.slice(state.length))),
    );
    return type === 'TABLE' && isState && !places.has(tableId) ? [tableId] : [];
  });
}
