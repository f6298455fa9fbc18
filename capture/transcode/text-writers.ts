import { exact, invalidText, type ValueWriter } from './outcome.ts';

/** Everything that Avro keeps as PostgreSQL's own text. */
export const writeString: ValueWriter = (output, text) => {
  output.writeText(text);
  return exact;
};

const backslash = 0x5c;
const letterX = 0x78;

/** Byte of a hexadecimal digit → its value; 255 for any other byte. */
const nibbles = new Uint8Array(256).fill(0xff);
for (let value = 0; value < 16; value += 1) nibbles[value.toString(16).charCodeAt(0)] = value;

/** bytea_output=hex: "\x00ff10" → the bytes. */
export const writeBytea: ValueWriter = (output, text) => {
  const { bytes, start, end } = text;
  const length = (end - start - 2) / 2;
  if (bytes[start] !== backslash || bytes[start + 1] !== letterX || !Number.isInteger(length)) {
    throw invalidText('bytea', text);
  }
  output.writeInteger(length);
  const target = output.bytes;
  let position = output.position;
  for (let at = start + 2; at < end; at += 2) {
    const high = nibbles[bytes[at] as number] as number;
    const low = nibbles[bytes[at + 1] as number] as number;
    if (high > 15 || low > 15) throw invalidText('bytea', text);
    target[position++] = (high << 4) | low;
  }
  output.position = position;
  return exact;
};
