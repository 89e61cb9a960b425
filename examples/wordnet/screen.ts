/** The demo's page: lines of label and text, and a line of progress where a terminal shows it. */
import { styleText } from 'node:util';

const COLUMN = 10;

export class Screen {
  readonly #colour: boolean = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  #label = '';
  #shown = false;
  #drawn = 0;
  failures = 0;

  #paint(style: Parameters<typeof styleText>[0], text: string): string {
    return this.#colour ? styleText(style, text) : text;
  }

  title(text: string): void {
    this.#write(`\n${this.#paint('bold', text)}\n\n`);
  }

  /** A line of what follows under the same label. */
  line(label: string, text: string): void {
    const shown = label === this.#label ? '' : label;
    if (shown !== '' && this.#label !== '') this.#write('\n');
    this.#label = label;
    this.#write(`  ${this.#paint('cyan', shown.padEnd(COLUMN))}${text}\n`);
  }

  /** Something that must hold. */
  holds(label: string, holds: boolean, text: string): void {
    if (!holds) this.failures++;
    this.line(label, `${holds ? this.#paint('green', 'yes') : this.#paint('red', 'NO ')}  ${text}`);
  }

  progress(text: string): void {
    if (!process.stdout.isTTY || performance.now() - this.#drawn < 100) return;
    this.#drawn = performance.now();
    this.#shown = true;
    process.stdout.write(`\r\x1b[K  ${''.padEnd(COLUMN)}${this.#paint('dim', text)}`);
  }

  #write(text: string): void {
    if (this.#shown) process.stdout.write('\r\x1b[K');
    this.#shown = false;
    process.stdout.write(text);
  }
}

export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

export function milliseconds(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

export function bytes(n: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  const unit = n < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(n) / 10));
  return `${(n / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit] ?? ''}`;
}
