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

const tablesPerPage = 1_000;

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
