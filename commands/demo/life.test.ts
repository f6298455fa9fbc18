import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Moment, pickLife, tellLife } from './life.ts';

let changes = 0;
function moment(given: Partial<Moment> & Pick<Moment, 'happenedAt' | 'summary'>): Moment {
  changes += 1;
  const changeId = String(changes).padStart(4, '0');
  return { changeId, kind: 'row_change', role: 'owner', table: 'master', ...given };
}
const event = (happenedAt: string, summary: string, role = 'actor') =>
  moment({ happenedAt, summary, kind: 'event', role, table: 'service_event' });

describe('the life that is told', () => {
  it('is the most varied one, not the longest, and not that of a master of which all was erased', () => {
    const erased = Array.from({ length: 20 }, (_, index) =>
      moment({ happenedAt: '09', summary: `erased: ${index}`, kind: 'event_erased' }),
    );
    const busy = Array.from({ length: 50 }, (_, day) => event(String(day), 'page_view'));
    const varied = [
      moment({ happenedAt: '01', summary: 'master found' }),
      event('02', 'login'),
      moment({ happenedAt: '03', summary: 'account changed: balance', table: 'account' }),
    ];
    const lives = [erased, busy, varied].map((moments, index) => ({
      masterKey: String(index),
      moments,
    }));
    expect(pickLife(lives)?.masterKey).toBe('2');
    expect(pickLife([])).toBeUndefined();
  });
});

describe('a life', () => {
  it('tells one thing in all its roles once', () => {
    const both = event('01', 'login', 'subject');
    expect(tellLife({ moments: [both, { ...both, role: 'actor' }] }, 8)).toMatchObject([
      { what: 'login', roles: ['actor', 'subject'] },
    ]);
  });

  it('tells what happened at once in one line, and an end with all that it takes along', () => {
    const moments = [
      moment({ happenedAt: '01', summary: 'master found' }),
      ...['requested', 'started', 'done'].map((state) => event('02', `send.${state}`)),
      moment({ happenedAt: '03', summary: 'erased: login', kind: 'event_erased', table: 'events' }),
      moment({ happenedAt: '03', summary: 'master deleted' }),
      moment({ happenedAt: '03', summary: 'account deleted', table: 'account' }),
    ];
    const told = tellLife({ moments }, 8);
    expect(told.map(({ what, table }) => [what, table])).toEqual([
      ['master found', 'master'],
      ['send.requested, and 2 more', 'service_event'],
      ['master deleted, and 2 more', '3 tables'],
    ]);
  });

  it('tells first what is unlike the rest: each kind, each role, each table', () => {
    const day = (number: number) => String(number).padStart(2, '0');
    const views = Array.from({ length: 30 }, (_, at) => event(day(10 + at), `page_view ${at}`));
    const moments = [
      moment({ happenedAt: day(1), summary: 'master found' }),
      ...views,
      moment({ happenedAt: day(12), summary: 'order found', role: 'soft_ref', table: 'order' }),
      moment({ happenedAt: day(14), summary: 'note found', table: 'note' }),
      moment({ happenedAt: day(16), summary: 'payment created', table: 'payment' }),
      moment({ happenedAt: day(18), summary: 'account changed: balance', table: 'account' }),
      moment({ happenedAt: day(99), summary: 'master deleted' }),
    ];
    const told = tellLife({ moments }, 8).map(({ what }) => what.replace(/view .*/, 'view'));
    expect(told).toEqual([
      'master found',
      'order found',
      'note found',
      'payment created',
      'account changed: balance',
      'page_view',
      'page_view',
      'master deleted',
    ]);
  });

  it('of which nothing is known has no lines', () => {
    expect(tellLife({ moments: [] }, 8)).toEqual([]);
  });

  it('is spread over its whole time', () => {
    const moments = Array.from({ length: 101 }, (_, day) => {
      return event(String(day).padStart(3, '0'), `view ${day}`);
    });
    const days = tellLife({ moments }, 5).map(({ happenedAt }) => Number(happenedAt));
    expect(days).toEqual([0, 25, 50, 75, 100]);
  });

  it('has at most so many lines, in the order of time, from its beginning to its end, and none twice', () => {
    const anyMoment = fc.record({
      happenedAt: fc.nat(9).map(String),
      changeId: fc.nat(30).map((id) => String(id).padStart(2, '0')),
      kind: fc.constantFrom<Moment['kind']>('event', 'event_erased', 'row_change'),
      role: fc.constantFrom('owner', 'actor', 'subject'),
      summary: fc.constantFrom('login', 'master found', 'note created', 'note deleted'),
      table: fc.constantFrom('master', 'note'),
    });
    const lines = fc.integer({ min: 2, max: 9 });
    fc.assert(
      fc.property(
        fc.array(anyMoment, { minLength: 1, maxLength: 40 }),
        lines,
        (moments, linesMax) => {
          const told = tellLife({ moments }, linesMax);
          expect(told.length).toBeLessThanOrEqual(linesMax);
          const times = told.map(({ happenedAt }) => Number(happenedAt));
          expect(times).toEqual(times.toSorted((a, b) => a - b));
          const all = moments.map(({ happenedAt }) => Number(happenedAt));
          expect([times[0], times.at(-1)]).toEqual([Math.min(...all), Math.max(...all)]);
          const between = told.slice(1, -1).map(({ what }) => what);
          expect(new Set(between).size).toBe(between.length);
        },
      ),
    );
  });
});
