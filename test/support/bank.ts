import type { RowImage } from '../../schemas/change.ts';
import { positionZero } from '../../schemas/position.ts';
import type { Checkpoint, Sink } from '../../sinks/sink.ts';
import { BatchMaker, versionOf } from './batch-maker.ts';

/*
 * Bank transfers: whatever happens, the sum over all accounts is the same at every published cut. The
 * transactions are the same in every process, so that a loader that was killed goes on with them.
 */

const accountCount = 40;
export const bankTotal = BigInt(accountCount * 1000);
const bankVersion = versionOf(
  {
    name: 'account',
    key: ['id'],
    columns: { id: { kind: 'int4' }, balance: { kind: 'int8' }, note: { kind: 'text' } },
  },
  positionZero,
);

/** Balances before transaction `upTo`; the first transaction opens the accounts. */
function balancesBefore(upTo: number): bigint[] {
  const balances = Array.from({ length: accountCount }, () => 1000n);
  for (let transaction = 2; transaction < upTo; transaction += 1) transfer(balances, transaction);
  return balances;
}

/** Carries one transaction's transfer out; gives the two accounts. */
function transfer(balances: bigint[], transaction: number): readonly [number, number] {
  const from = (transaction * 7) % accountCount;
  const to =
    (transaction * 11 + 3) % accountCount === from
      ? (from + 1) % accountCount
      : (transaction * 11 + 3) % accountCount;
  const amount = BigInt((transaction % 90) + 1);
  balances[from] = (balances[from] ?? 0n) - amount;
  balances[to] = (balances[to] ?? 0n) + amount;
  return [from, to];
}

/** Changes of transactions 1 to `count`. */
export const bankChangeCount = (count: number): number =>
  count <= 0 ? 0 : accountCount + 2 * (count - 1);

/**
 * Loads transfer after transfer from the checkpoint on, the two halves of every third one as two
 * batches of which the first is not published. `onApplied` gets the number of the transaction; false ends.
 */
export async function loadBank(
  sink: Sink,
  from: Checkpoint,
  onApplied: (transaction: number) => Promise<boolean>,
): Promise<Checkpoint> {
  let checkpoint = from;
  const done =
    from.applied === positionZero ? 0 : Number(BigInt(`0x${from.applied.slice(5, 21)}`) / 4096n);
  await sink.evolve(bankVersion);
  const maker = new BatchMaker(done + 1);
  const balances = balancesBefore(done + 1);
  for (;;) {
    const { transaction } = maker;
    const row = (id: number): RowImage => [id, balances[id] ?? null, `after ${transaction}`];
    if (transaction === 1) {
      for (let id = 0; id < accountCount; id += 1)
        maker.add(bankVersion, { op: 'c', after: row(id) });
    } else {
      const [left, right] = transfer(balances, transaction);
      maker.add(bankVersion, { op: 'u', after: row(left) });
      if (transaction % 3 === 0)
        checkpoint = await maker.apply(sink, checkpoint, { publish: false });
      maker.add(bankVersion, { op: 'u', after: row(right) });
    }
    checkpoint = await maker.apply(sink, checkpoint);
    if (!(await onApplied(transaction))) return checkpoint;
  }
}
