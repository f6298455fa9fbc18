import { expect, it } from 'vitest';
import type { Change, DeadLetter } from '../schemas/change.ts';
import { cutAfter, formatPosition, positionZero } from '../schemas/position.ts';
import { versionOf } from '../test/support/batch-maker.ts';
import type { LogBatch } from './batch-source.ts';
import { planSteps } from './batch-steps.ts';
import type { TableVersions } from './table-versions.ts';

const at = (commitLsn: bigint) => formatPosition({ generation: 1, commitLsn, ordinal: 1, part: 0 });
const spec = { name: 't', key: ['id'], columns: { id: { kind: 'int4' } } } as const;
const versions = [at(10n), at(30n)].map((from, index) =>
  versionOf({ ...spec, id: index + 1 }, from),
);

function changeAt(commitLsn: bigint): Change {
  const version = versions.findLast(({ from }) => from <= at(commitLsn));
  if (version === undefined) throw new Error('the change has a version');
  const { topic } = version;
  const origin = { lsn: commitLsn, xid: 1n, committedAtUs: 1n, capturedAtUs: 1n, topic, version };
  const place = { seq: at(commitLsn), partition: 0, offset: Number(commitLsn) };
  return { ...origin, ...place, op: 'c', after: [1], before: null, unchanged: [] };
}

function letterAt(commitLsn: bigint | null): DeadLetter {
  const seq = commitLsn === null ? null : at(commitLsn);
  const place = { topic: versions[0]?.topic ?? '', partition: 0, offset: 0 };
  return { ...place, seq, reason: 'unfit', key: null, value: null };
}

it('a dead letter is in the step of its position: a step that is published leaves none behind', () => {
  const cut = cutAfter(1, 50n);
  const batch: LogBatch = {
    cut: { cut, lsn: '0/32', committedAtUs: null, publish: true, full: true, ends: {} },
    watermarkOffset: 1,
    offsets: {},
    changes: [10n, 20n, 30n, 40n].map(changeAt),
    deadLetters: [null, 5n, 15n, 25n, 35n, 45n].map(letterAt),
    lateTopics: [],
    recordCount: 4,
    bytes: 4,
  };
  const before = { epoch: 1, applied: positionZero, watermarkOffset: 0, offsets: {} };
  const known = { topics: [], of: () => versions } as unknown as TableVersions;
  const steps = planSteps({ batch, before, versions: known, wants: () => true });
  expect(steps.map((step) => step.batch?.cut.publish)).toEqual([true, true]);
  expect(steps.map((step) => step.batch?.deadLetters.map(({ seq }) => seq))).toEqual([
    [at(5n), at(15n)],
    [null, at(25n), at(35n), at(45n)],
  ]);
});
