/** Something that happened to a master, in one of its roles, or to what is connected with it. */
export interface Moment {
  /** Text that sorts by time, to the second. */
  readonly happenedAt: string;
  /** Sorts by commit. */
  readonly changeId: string;
  readonly kind: 'event' | 'event_erased' | 'row_change';
  readonly role: string;
  readonly summary: string;
  readonly table: string;
}

export interface Life {
  readonly masterKey: string;
  readonly moments: readonly Moment[];
}

/** What is told in one line: moments that happened together. */
export interface Scene {
  readonly happenedAt: string;
  readonly what: string;
  readonly roles: readonly string[];
  readonly table: string;
  readonly verb: Verb;
}

type Verb = 'found' | 'created' | 'changed' | 'happened' | 'ended';

/** The most varied of the lives; undefined without any. An end is of one kind, whatever it takes along. */
export function pickLife(lives: readonly Life[]): Life | undefined {
  const rated = lives.map((life) => ({ life, worth: worthOf(life) }));
  const [best] = rated.toSorted(
    (a, b) => b.worth - a.worth || compareText(a.life.masterKey, b.life.masterKey),
  );
  return best?.life;
}

function worthOf({ moments }: Life): number {
  const kinds = moments.map((moment) => {
    const verb = verbOf(moment);
    return verb === 'ended' ? verb : `${verb} ${moment.role} ${moment.table}`;
  });
  return new Set(kinds).size;
}

/** What makes one line unlike another, the most telling first. */
const traits: readonly ((scene: Scene) => readonly string[])[] = [
  ({ verb }) => [verb],
  ({ roles }) => roles,
  ({ table }) => [table],
  ({ what }) => [what],
];

/**
 * A life in so many lines at most, in the order of time: its first and last scene, and then what is unlike and far
 * from all that was told already. No two lines in between say the same.
 */
export function tellLife({ moments }: Pick<Life, 'moments'>, linesMax: number): readonly Scene[] {
  const scenes = scenesOf(moments);
  const told = new Set(scenes.length === 0 ? [] : [0, scenes.length - 1]);
  const tellers = () => scenes.filter((_, index) => told.has(index));
  for (const traitsOf of traits) {
    while (told.size < linesMax) {
      const known = new Set(tellers().flatMap(traitsOf));
      const said = new Set(tellers().map(({ what }) => what));
      const isNews = (scene: Scene) =>
        !said.has(scene.what) && traitsOf(scene).some((trait) => !known.has(trait));
      const next = farthest(told, scenes, isNews);
      if (next === undefined) break;
      told.add(next);
    }
  }
  return tellers();
}

/** The place of the wanted scene that is farthest from all told ones. */
function farthest(
  told: ReadonlySet<number>,
  scenes: readonly Scene[],
  isWanted: (scene: Scene) => boolean,
): number | undefined {
  let best: { readonly index: number; readonly distance: number } | undefined;
  for (const [index, scene] of scenes.entries()) {
    if (!isWanted(scene)) continue;
    const distance = Math.min(...[...told].map((one) => Math.abs(one - index)));
    if (best === undefined || distance > best.distance) best = { index, distance };
  }
  return best?.index;
}

function verbOf({ kind, summary }: Moment): Verb {
  if (kind === 'event') return 'happened';
  if (kind === 'event_erased' || summary.endsWith(' deleted')) return 'ended';
  if (summary.endsWith(' found')) return 'found';
  return summary.endsWith(' created') ? 'created' : 'changed';
}

/** An end takes everything along at once; else one table tells of what happened together. */
function scenesOf(moments: readonly Moment[]): readonly Scene[] {
  const inOrder = moments.toSorted((a, b) => compareText(orderOf(a), orderOf(b)));
  const together = Map.groupBy(inOrder, (moment) => {
    const verb = verbOf(moment);
    return `${moment.happenedAt} ${verb} ${verb === 'ended' ? '' : moment.table}`;
  });
  return [...together.values()].flatMap((group): readonly Scene[] => {
    // An end is told by the row that ended, not by what went with it.
    const first = group.find(({ kind }) => kind === 'row_change') ?? group[0];
    if (first === undefined) return [];
    // One change may be of several roles.
    const others = new Set(group.map(({ changeId }) => changeId)).size - 1;
    const tables = new Set(group.map(({ table }) => table)).size;
    return [
      {
        happenedAt: first.happenedAt,
        what: others === 0 ? first.summary : `${first.summary}, and ${others} more`,
        roles: [...new Set(group.map(({ role }) => role))].toSorted(compareText),
        table: tables === 1 ? first.table : `${tables} tables`,
        verb: verbOf(first),
      },
    ];
  });
}

const orderOf = ({ happenedAt, changeId }: Moment): string => `${happenedAt} ${changeId}`;

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
