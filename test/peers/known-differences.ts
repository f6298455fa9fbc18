import type { Difference } from './compare-records.ts';

/** A difference that is known: `name` is the first column of its line in log/kafka/DEBEZIUM.md. */
export interface KnownDifference {
  readonly name: string;
  readonly explains: (difference: Difference) => boolean;
}

interface Field {
  readonly type?: unknown;
  readonly default?: unknown;
}

const plainText = JSON.stringify(['null', 'string']);
const isOfRow = ({ place }: Difference) => /^(before|after|schema)\./.test(place);

export const knownDifferences: readonly KnownDifference[] = [
  {
    name: 'NULL beside a default',
    explains: (difference) => {
      const { default: fallback = null } = (difference.field ?? {}) as Field;
      const isValue = isOfRow(difference) && !difference.place.startsWith('schema.');
      return isValue && difference.ours === 'null' && fallback !== null;
    },
  },
  {
    name: 'types as text',
    explains: (difference) => {
      const { type: own } = (difference.ownField ?? {}) as Field;
      const { type: their } = (difference.field ?? {}) as Field;
      const isText = JSON.stringify(own) === plainText;
      return isOfRow(difference) && isText && JSON.stringify(their) !== plainText;
    },
  },
];

/** Topics that only one side writes. */
export const topicsOfOneSide: ReadonlyMap<string, string> = new Map([['app.message', 'messages']]);
