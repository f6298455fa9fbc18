import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Change, RowImage } from '../schemas/change.ts';
import { formatPosition, type Part } from '../schemas/position.ts';
import type { ColumnSchema, TableSchema, TableVersion } from '../schemas/table-schema.ts';
import {
  commandsArbitrary,
  runHistory,
  sortedIdentities,
  tableVersion,
} from '../test/conformance/sink-history.ts';
import { foldChanges } from './fold.ts';
import { type MemoryContent, MemoryLake } from './memory/client.ts';
import { mergeBatch } from './memory/merge.ts';
import { evolveContent } from './memory/schema.ts';
import { transactionOf, wholeChange } from './batch.ts';

const column = (name: string): ColumnSchema => {
  return { name, type: { kind: 'text' }, pgType: 'text', nullable: true };
};
const columns = ['id', 'note', 'big', 'huge'].map(column);
const start = formatPosition({ generation: 1, commitLsn: 1n, ordinal: 0, part: 0 });
const keyed = tableVersion({ name: 'keyed', id: 1, key: ['id'], columns }, start);
const keyless = tableVersion(
  { name: 'keyless', id: 2, key: [], columns: columns.slice(0, 2) },
  start,
);

/** Changes in short: the position rises with each entry; `part` of a move's halves is set by the caller. */
function change(version: TableVersion, ordinal: number, part: Part = 0) {
  return {
    seq: formatPosition({ generation: 1, commitLsn: 9n, ordinal, part }),
    lsn: 1n,
    xid: 1n,
    committedAtUs: 1n,
    capturedAtUs: 1n,
    topic: version.topic,
    partition: 0,
    offset: ordinal,
    version,
  };
}
const put = (ordinal: number, after: RowImage, unchanged: number[] = []): Change => {
  return { ...change(keyed, ordinal), op: 'u', after, before: null, unchanged };
};
/** The insert half of a key change. */
const move = (ordinal: number, after: RowImage, unchanged: number[]): Change => {
  return { ...change(keyed, ordinal, 2), op: 'c', after, before: null, unchanged };
};
const remove = (ordinal: number, id: string): Change => {
  return { ...change(keyed, ordinal), op: 'd', before: [id, null, null, null] };
};
const truncate = (ordinal: number): Change => ({ ...change(keyed, ordinal), op: 't' });
const fold = (...changes: Change[]) => foldChanges(keyed.table, changes);
const keyOf = (id: string) => [id, null, null, null];

describe('foldChanges', () => {
  it('keeps the last image of a key, its columns merged one by one', () => {
    const { rows } = fold(
      put(1, ['a', 'one', 'B', null], [3]),
      put(2, ['a', 'two', null, null], [2, 3]),
    );
    expect(rows).toMatchObject([
      { deleted: false, image: ['a', 'two', 'B', null], unchanged: [3], baseKey: keyOf('a') },
    ]);
  });

  it('follows a row through two key changes to the key that it had before the batch', () => {
    const { rows } = fold(
      remove(1, 'k1'),
      move(1, ['k2', 'x', null, null], [2, 3]),
      put(2, ['k2', 'x', 'big', null], [3]),
      remove(3, 'k2'),
      move(3, ['k3', 'y', null, null], [2, 3]),
    );
    expect(rows).toHaveLength(3);
    expect(rows.at(-1)).toMatchObject({
      image: ['k3', 'y', 'big', null],
      unchanged: [3],
      baseKey: keyOf('k1'),
    });
    expect(rows.slice(0, 2).map((row) => row.deleted)).toEqual([true, true]);
  });

  it('breaks the chain where a row was deleted and came back as another', () => {
    const { rows } = fold(remove(1, 'a'), put(2, ['a', 'new', 'b', 'h']), remove(3, 'a'));
    expect(rows).toMatchObject([{ deleted: true, key: keyOf('a') }]);
    const again = fold(remove(1, 'a'), put(2, ['a', 'new', null, null], [2]));
    expect(again.rows).toMatchObject([{ image: ['a', 'new', null, null], unchanged: [] }]);
  });

  it('takes unchanged columns from the before image where there is a full one', () => {
    const images = { after: ['a', 'n', null, null], before: ['a', 'o', 'big', 'huge'] };
    const { rows } = fold({ ...change(keyed, 1), op: 'u', ...images, unchanged: [2, 3] });
    expect(rows).toMatchObject([{ image: ['a', 'n', 'big', 'huge'], unchanged: [] }]);
  });

  it('voids what came before a truncate', () => {
    const { floor, rows } = fold(
      put(1, ['a', '1', '2', '3']),
      truncate(2),
      put(3, ['b', '', '', '']),
    );
    expect(floor).toBe(change(keyed, 2).seq);
    expect(rows).toMatchObject([{ image: ['b', '', '', ''] }]);
  });

  it('cancels removals within the batch before it asks for removals from the lake', () => {
    const row = ['x', 'y'];
    const add = {
      ...change(keyless, 1),
      op: 'c' as const,
      after: row,
      before: null,
      unchanged: [],
    };
    const drop = (ordinal: number) => {
      return { ...change(keyless, ordinal), op: 'd' as const, before: row };
    };
    expect(foldChanges(keyless.table, [add, drop(2)])).toMatchObject({ added: [], removed: [] });
    expect(foldChanges(keyless.table, [add, drop(2), drop(3)]).removed).toEqual([row]);
  });

  it('gives the rows of the source however a history is cut', () => {
    const cuts = fc.array(fc.nat(3), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(commandsArbitrary(80), cuts, (commands, dice) => {
        const history = runHistory(commands.filter(({ what }) => what !== 'add-column'));
        const source = history.cuts.at(-1);
        const oneByOne = stateAfter(history.changes, () => true);
        const atOnce = stateAfter(history.changes, () => false);
        const inPieces = stateAfter(history.changes, (index) => dice[index % dice.length] === 0);
        for (const { table } of source?.versions ?? []) {
          const wanted = sortedIdentities(source?.rows.get(table.name) ?? []);
          expect(rowsOf(oneByOne, table)).toEqual(wanted);
          expect(rowsOf(atOnce, table)).toEqual(wanted);
          expect(rowsOf(inPieces, table)).toEqual(wanted);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** Applies the changes in batches; `cutsAfter` says where one ends. Halves of one change stay together. */
function stateAfter(
  changes: readonly Change[],
  cutsAfter: (index: number) => boolean,
): MemoryContent {
  const { content } = new MemoryLake();
  let batch: Change[] = [];
  for (const [index, next] of changes.entries()) {
    batch.push(next);
    const following = changes[index + 1];
    const isWhole = following === undefined || wholeChange(following.seq) !== wholeChange(next.seq);
    if (following !== undefined && !(isWhole && cutsAfter(index))) continue;
    applyAll(content, batch);
    batch = [];
  }
  return content;
}

function applyAll(content: MemoryContent, changes: readonly Change[]): void {
  for (const version of new Set(changes.map((one) => one.version))) {
    if (!content.tables.has(`public.${version.table.name}`)) evolveContent(content, version);
    const own = changes.filter((one) => one.version === version);
    const checkpoint = { epoch: 1, applied: start, watermarkOffset: 0, offsets: {} };
    const ends = {
      cut: start,
      lsn: '0/0',
      committedAtUs: null,
      publish: true,
      full: true,
      ends: {},
    };
    mergeBatch(content, {
      id: transactionOf(own[0]?.seq ?? start),
      cut: ends,
      checkpoint,
      tables: [{ version, changes: own, fold: foldChanges(version.table, own) }],
      deadLetters: [],
    });
  }
}

function rowsOf(content: MemoryContent, table: TableSchema): readonly string[] {
  const lake = new MemoryLake();
  lake.share(0).content = content;
  return sortedIdentities(lake.rows({ table }).map((row) => row.image));
}
