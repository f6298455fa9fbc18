/** Rows of one request. */
export interface RowsPart {
  /** Place of its first row among all. */
  readonly first: number;
  readonly rows: readonly Uint8Array[];
}

/** What a row costs beside its bytes: a tag and its length. */
const rowExtraBytes = 6;

/** Rows in their order, in parts of at most so many bytes; a row that is larger has a part of its own. */
export function splitRows(rows: readonly Uint8Array[], bytesMax: number): readonly RowsPart[] {
  const parts: RowsPart[] = [];
  let first = 0;
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    const size = row.length + rowExtraBytes;
    if (index > first && bytes + size > bytesMax) {
      parts.push({ first, rows: rows.slice(first, index) });
      first = index;
      bytes = 0;
    }
    bytes += size;
  }
  if (first < rows.length) parts.push({ first, rows: rows.slice(first) });
  return parts;
}
