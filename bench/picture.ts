/**
 * Pictures of results: a panel of bars for everything that was compared, drawn as SVG that is legible on light and on dark pages. Within a
 * panel all bars have one scale from zero, and the figure behind each is followed by how many times the first peer's it is.
 */
import type { Result } from './harness.ts';

const WIDTH = 960;
const GAP = 32;
const PANEL = (WIDTH - GAP) / 2;
const NAMES = 178;
const LABELS = 132;
const BAR = 14;
const ROW = 19;
const HEAD = 40;
const FOOT = 14;

interface Bar {
  readonly name: string;
  readonly figure: number;
  readonly ours: boolean;
}

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly better: string;
  readonly bars: readonly Bar[];
  /** What the others are told in multiples of. */
  readonly base: Bar | undefined;
}

/** The name of what was compared, and of the one of ours that took part. */
function parts({ name }: Result): { title: string; ours: string } {
  const match = /^(.*) \(([^()]*(?:\([^()]*\)[^()]*)*)\)$/.exec(name);
  return { title: match?.[1] ?? name, ours: match?.[2] ?? 'ours' };
}

/** One panel for all results of the same title and unit. Limits are no bars. */
function panelsOf(results: readonly Result[]): Panel[] {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    const key = `${parts(result).title} ${result.unit}`;
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return [...groups.values()].flatMap((group) => {
    const bars = new Map<string, Bar>();
    for (const result of group) {
      const { ours } = parts(result);
      bars.set(`ours ${ours}`, { name: ours, figure: result.ours, ours: true });
    }
    for (const { peer, theirs } of group)
      if (theirs !== null && peer !== 'the limit set') bars.set(peer, { name: peer, figure: theirs, ours: false });
    const all = [...bars.values()];
    const [first] = group;
    const base = all.find((bar) => !bar.ours);
    if (first === undefined || base === undefined) return [];
    return [{ title: parts(first).title, unit: first.unit, better: first.better, bars: all, base }];
  });
}

function short(value: number): string {
  for (const [size, letter] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const)
    if (value >= size) return `${(value / size).toPrecision(3)} ${letter}`;
  return value.toPrecision(3);
}

function times(ratio: number): string {
  return `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}x`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function clipped(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function label(panel: Panel, { figure, name }: Bar): string {
  const unit = panel.unit.endsWith('/s') ? '/s' : ` ${panel.unit.replace(/\/.*/, '')}`;
  const value = `${short(figure)}${unit}`.replace(/([GMk])\/s$/, '$1/s');
  return panel.base === undefined || panel.base.name === name ? value : `${value} · ${times(figure / panel.base.figure)}`;
}

function drawn(panel: Panel, x: number, y: number): string {
  const most = Math.max(...panel.bars.map(({ figure }) => figure));
  const room = PANEL - NAMES - LABELS;
  const rows = panel.bars.map((bar, i) => {
    const top = HEAD + i * ROW;
    const width = Math.max(1, (bar.figure / most) * room);
    return `<text class="name" x="${NAMES - 8}" y="${top + 11}">${escaped(clipped(bar.name, 27))}</text><rect class="${bar.ours ? 'ours' : 'peer'}" x="${NAMES}" y="${top}" width="${width.toFixed(1)}" height="${BAR}" rx="2"/><text class="figure" x="${(NAMES + width + 6).toFixed(1)}" y="${top + 11}">${escaped(label(panel, bar))}</text>`;
  });
  const good = panel.better === 'higher' ? 'longer is better' : 'shorter is better';
  return `<g transform="translate(${x} ${y})"><text class="title" x="0" y="14">${escaped(clipped(panel.title, 66))}</text><text class="unit" x="0" y="30">${escaped(panel.unit)}, ${good}; x: times ${escaped(panel.base?.name ?? '')}</text>${rows.join('')}</g>`;
}

const STYLE = `text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:13px}.unit,.figure{fill:#57606a}.name{text-anchor:end}.ours{fill:#0969da}.peer{fill:#afb8c1}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.unit,.figure{fill:#9198a1}.ours{fill:#4493f8}.peer{fill:#57606a}}`;

/** The picture of one benchmark's results, or undefined where nothing was compared. */
export function picture(benchmark: string, results: readonly Result[]): string | undefined {
  const panels = panelsOf(results.filter((result) => result.benchmark === benchmark));
  if (panels.length === 0) return undefined;
  // Two columns, each panel where there is less so far.
  const heights = [0, 0];
  const body = panels.map((panel) => {
    const column = (heights[0] ?? 0) <= (heights[1] ?? 0) ? 0 : 1;
    const y = heights[column] ?? 0;
    heights[column] = y + HEAD + panel.bars.length * ROW + FOOT;
    return drawn(panel, column * (PANEL + GAP), y);
  });
  const height = Math.max(...heights);
  const width = panels.length === 1 ? PANEL : WIDTH;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(benchmark)}: ours beside the others"><style>${STYLE}</style>
${body.join('\n')}
</svg>
`;
}
