/**
 * The narrowest type that takes every value of the lake's column and of the new version's; null when
 * that would change how values read.
 */
export function widenedType(lake: string, wanted: string): string | null {
  if (lake === wanted) return lake;
  if (wanted === 'VARCHAR') return plainAsText.test(lake) ? wanted : null;
  if (lake === 'VARCHAR') return null;
  const [left, right] = [integerDigits[lake], integerDigits[wanted]];
  if (left !== undefined && right !== undefined) return widerInteger(lake, wanted);
  if (lake === 'DOUBLE' || lake === 'FLOAT') {
    return wanted === 'DOUBLE' || wanted === 'FLOAT' ? 'DOUBLE' : null;
  }
  if (wanted === 'DOUBLE') return left !== undefined && left <= 10 ? wanted : null;
  return widerDecimal(lake, wanted);
}

const plainAsText = /^(SMALLINT|INTEGER|BIGINT|UINTEGER|DECIMAL\(\d+,\d+\)|BOOLEAN|UUID|JSON)$/;
const integerDigits: Readonly<Record<string, number>> = {
  SMALLINT: 5,
  INTEGER: 10,
  UINTEGER: 10,
  BIGINT: 19,
};

function widerInteger(lake: string, wanted: string): string {
  const order = ['SMALLINT', 'INTEGER', 'BIGINT'];
  const [left, right] = [order.indexOf(lake), order.indexOf(wanted)];
  return left < 0 || right < 0 ? 'BIGINT' : (order[Math.max(left, right)] ?? 'BIGINT');
}

function widerDecimal(lake: string, wanted: string): string | null {
  const [left, right] = [decimalOf(lake), decimalOf(wanted)];
  // An integer column can become a decimal one, but a decimal one would round as an integer.
  if (left === null || right === null || integerDigits[wanted] !== undefined) return null;
  const scale = Math.max(left.scale, right.scale);
  const precision = Math.max(left.whole, right.whole) + scale;
  return precision <= 38 ? `DECIMAL(${precision},${scale})` : null;
}

function decimalOf(type: string): { whole: number; scale: number } | null {
  const digits = integerDigits[type];
  if (digits !== undefined) return { whole: digits, scale: 0 };
  const match = /^DECIMAL\((\d+),(\d+)\)$/.exec(type);
  if (match === null) return null;
  return { whole: Number(match[1]) - Number(match[2]), scale: Number(match[2]) };
}
