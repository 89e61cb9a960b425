/** Everything that `twz` prints: colours, tables, bytes, times. Results go to stdout; errors, notices and progress to stderr. */
import type { WriteStream } from 'node:tty';

const SGR = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;
export type Colour = keyof typeof SGR;

/** One of the two streams, with its own idea of whether colours can be shown. */
export class Stream {
  readonly #stream: WriteStream;
  readonly colours: boolean;

  constructor(stream: WriteStream) {
    this.#stream = stream;
    this.colours = (process.env['NO_COLOR'] ?? '') === '' && stream.isTTY && stream.hasColors();
  }

  get terminal(): boolean {
    return this.#stream.isTTY;
  }

  /** Characters in a line; endless where the output is not a terminal. */
  get columns(): number {
    return this.terminal ? this.#stream.columns : Infinity;
  }

  paint(colour: Colour, text: string): string {
    return this.colours ? `\x1b[${SGR[colour]}m${text}\x1b[0m` : text;
  }

  write(text: string | Uint8Array): void {
    this.#stream.write(text);
  }

  /** Resolves when there is room for more: for output that may be large. */
  async send(bytes: Uint8Array): Promise<void> {
    if (!this.#stream.write(bytes)) await new Promise<void>((resolve) => this.#stream.once('drain', resolve));
  }

  line(text = ''): void {
    this.#stream.write(`${text}\n`);
  }

  json(value: unknown): void {
    this.line(toJson(value));
  }
}

/** JSON with big integers as decimal strings and bytes as hexadecimal. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return item.toString();
    if (item instanceof Uint8Array) return Buffer.from(item).toString('hex');
    return item;
  });
}

export const out = new Stream(process.stdout);
export const err = new Stream(process.stderr);

/** Control characters in stored data must not reach the terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the characters to find
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

// oxlint-disable-next-line no-control-regex -- colour sequences
const SEQUENCES = /\x1b\[[0-9;]*m/g;

function width(text: string): number {
  let cells = 0;
  for (const c of text.replaceAll(SEQUENCES, '')) {
    const point = c.codePointAt(0) ?? 0;
    const wide = (point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xffe6 && point !== 0xfeff) || point >= 0x1f300;
    cells += wide ? 2 : 1;
  }
  return cells;
}

export interface Column {
  readonly head: string;
  readonly right?: boolean;
}

/** Lines up `rows` under their heads, two blanks between. The last column may be as long as it likes. */
export function table(stream: Stream, columns: readonly Column[], rows: readonly (readonly string[])[]): void {
  const widths = columns.map((column, i) => rows.reduce((most, row) => Math.max(most, width(row[i] ?? '')), width(column.head)));
  const lineUp = (cells: readonly string[]): string =>
    columns
      .map((column, i) => {
        const cell = cells[i] ?? '';
        const pad = ' '.repeat(Math.max(0, (widths[i] ?? 0) - width(cell)));
        if (column.right === true) return pad + cell;
        return i === columns.length - 1 ? cell : cell + pad;
      })
      .join('  ')
      .trimEnd();
  stream.line(stream.paint('dim', lineUp(columns.map((column) => column.head))));
  for (const row of rows) stream.line(lineUp(row));
}

/** Name and value pairs under each other. */
export function pairs(stream: Stream, rows: readonly (readonly [string, string])[]): void {
  const widest = rows.reduce((most, [name]) => Math.max(most, width(name)), 0);
  for (const [name, value] of rows) stream.line(`${stream.paint('dim', name.padEnd(widest))}  ${value}`);
}

/** 16 bytes a line: offset, hexadecimal, characters. Lines that repeat the one before are left out, with one `*` for all. */
export function hexDump(stream: Stream, bytes: Uint8Array, start: number): void {
  let before = '';
  let starred = false;
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    const key = Buffer.from(line.buffer, line.byteOffset, line.length).toString('latin1');
    if (key === before && at + 16 < bytes.length) {
      if (!starred) stream.line('*');
      starred = true;
      continue;
    }
    before = key;
    starred = false;
    const hex = Array.from(line, (byte) => byte.toString(16).padStart(2, '0'));
    const text = Array.from(line, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    const half = `${hex.slice(0, 8).join(' ').padEnd(23)}  ${hex.slice(8).join(' ').padEnd(23)}`;
    stream.line(`${stream.paint('dim', (start + at).toString(16).padStart(8, '0'))}  ${half}  ${stream.paint('cyan', text)}`);
  }
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes for people: `4 KiB`, `1.5 MiB`. */
export function size(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? 'B'}`;
}

export function count(n: number): string {
  return n.toLocaleString('en-US');
}

/** `1 object`, `2 objects`. */
export function plural(n: number, noun: string, many = `${noun}s`): string {
  return `${count(n)} ${n === 1 ? noun : many}`;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes} min ${String(Math.round((ms % 60_000) / 1000)).padStart(2, '0')} s`;
}
