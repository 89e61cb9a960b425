/** A progress line on stderr for work that lasts: from one second on, ten times a second, on a terminal only, and gone when the work is done. */
import { count, duration, err, size } from './output.ts';

const QUIET_MS = 1000;
const REDRAW_MS = 100;

export class Progress {
  readonly #what: string;
  readonly #unit: 'bytes' | 'items';
  readonly #started = performance.now();
  #drawn = 0;
  #shown = false;

  constructor(what: string, unit: 'bytes' | 'items' = 'items') {
    this.#what = what;
    this.#unit = unit;
  }

  /** Called by the work as it goes on; cheap. `total` where it is known. */
  readonly step = (done: number, total?: number): void => {
    if (!err.terminal) return;
    const now = performance.now();
    if (now - this.#started < QUIET_MS || now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    this.#shown = true;
    err.write(`\r\x1b[K${this.#line(done, total, now - this.#started)}`);
  };

  #line(done: number, total: number | undefined, elapsed: number): string {
    const amount = this.#unit === 'bytes' ? size : count;
    const rate = `${amount(Math.round(done / (elapsed / 1000)))}/s`;
    if (total === undefined || total === 0) return `${this.#what}  ${amount(done)}  ${rate}  ${duration(elapsed)}`;
    const share = Math.min(1, done / total);
    const cells = 24;
    const full = Math.round(share * cells);
    const bar = err.paint('green', '━'.repeat(full)) + err.paint('dim', '━'.repeat(cells - full));
    const left = share > 0 ? duration((elapsed / share) * (1 - share)) : '?';
    return `${this.#what}  ${bar} ${Math.floor(share * 100)}%  ${amount(done)} of ${amount(total)}  ${rate}  ${left} left`;
  }

  get elapsed(): number {
    return performance.now() - this.#started;
  }

  done(): void {
    if (this.#shown) err.write('\r\x1b[K');
    this.#shown = false;
  }
}

/** Runs `work` with a progress line that vanishes whatever happens. */
export function withProgress<T>(what: string, unit: 'bytes' | 'items', work: (step: Progress['step']) => T): T {
  const progress = new Progress(what, unit);
  try {
    return work(progress.step);
  } finally {
    progress.done();
  }
}
