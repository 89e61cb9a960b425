/**
 * What a run took, over all nodes that had a part in it, as one trace. The program that asked for it makes the spans, by the API of
 * OpenTelemetry: other nodes tell it with their answers what took how long there, so they need neither the package nor an exporter, and
 * clocks that differ do no harm. Nodes are told that somebody wants to know by the head `trace`, a W3C traceparent; without it nothing is noted.
 */
import { isRecord } from './messages.ts';

export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** What is used of a span of `@opentelemetry/api`. */
export interface TelemetrySpan {
  spanContext(): { readonly traceId: string; readonly spanId: string; readonly traceFlags: number };
  isRecording(): boolean;
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { readonly code: number; readonly message?: string }): unknown;
  end(time?: number): void;
}

/** What is used of `@opentelemetry/api`: the module itself has it. */
export interface Telemetry {
  readonly trace: {
    getTracer(name: string): {
      startSpan(name: string, options: { readonly startTime: number; readonly attributes: Attributes }, context: never): TelemetrySpan;
    };
    setSpan(context: never, span: never): unknown;
  };
  readonly context: { active(): unknown };
}

/** Something that takes time. */
export interface Span {
  child(name: string, attributes?: Attributes): Span;
  set(attributes: Attributes): void;
  end(error?: unknown): void;
  /** What another node has just told of its part; it was asked `took` milliseconds ago. */
  adopt(told: unknown, took: number): void;
  /** Names it to other nodes. */
  readonly parent: string;
}

/** As nodes tell it: milliseconds since the one who tells heard of it. */
interface Told {
  readonly name: string;
  readonly at: number;
  readonly ms: number;
  readonly attributes: Attributes;
  readonly error?: string;
  readonly spans: readonly Told[];
}

const ERROR = 2;
const TOLD_MAX = 256;
const DEPTH_MAX = 32;
const PREFIX = 'twizzler.';

export class Tracing {
  readonly #api: Telemetry;
  readonly #tracer: ReturnType<Telemetry['trace']['getTracer']>;
  readonly #time: () => number;

  /** `time`: milliseconds since 1970. */
  constructor(api: Telemetry, time: () => number) {
    this.#api = api;
    this.#tracer = api.trace.getTracer('twizzler');
    this.#time = time;
  }

  /** Undefined where nobody records it. */
  begin(name: string, attributes: Attributes): Span | undefined {
    const span = this.#start(name, attributes, this.#api.context.active(), this.#time());
    return span.isRecording() ? new ApiSpan(span, this) : undefined;
  }

  #start(name: string, attributes: Attributes, context: unknown, startTime: number): TelemetrySpan {
    return this.#tracer.startSpan(PREFIX + name, { startTime, attributes: prefixed(attributes) }, context as never);
  }

  below(parent: TelemetrySpan, name: string, attributes: Attributes, startTime = this.#time()): TelemetrySpan {
    return this.#start(name, attributes, this.#api.trace.setSpan(this.#api.context.active() as never, parent as never), startTime);
  }

  get now(): number {
    return this.#time();
  }
}

function prefixed(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [PREFIX + name, value]));
}

class ApiSpan implements Span {
  readonly #span: TelemetrySpan;
  readonly #tracing: Tracing;

  constructor(span: TelemetrySpan, tracing: Tracing) {
    this.#span = span;
    this.#tracing = tracing;
  }

  child(name: string, attributes: Attributes = {}): Span {
    return new ApiSpan(this.#tracing.below(this.#span, name, attributes), this.#tracing);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(prefixed(attributes));
  }

  end(error?: unknown): void {
    if (error !== undefined) this.#span.setStatus({ code: ERROR, message: nameOf(error) });
    this.#span.end(this.#tracing.now);
  }

  adopt(told: unknown, took: number): void {
    const spans = toldIn(told);
    const from = this.#tracing.now - took + slack(spans, took);
    for (const each of spans) this.#adopt(this.#span, each, from);
  }

  #adopt(parent: TelemetrySpan, { name, at, ms, attributes, error, spans }: Told, from: number): void {
    const span = this.#tracing.below(parent, name, attributes, from + at);
    if (error !== undefined) span.setStatus({ code: ERROR, message: error });
    for (const each of spans) this.#adopt(span, each, from);
    span.end(from + at + ms);
  }

  get parent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 1000) : String(error);
}

interface Note {
  readonly name: string;
  readonly at: number;
  ms: number;
  attributes: Attributes;
  error?: string;
  readonly spans: (Note | Told)[];
}

/** What a node notes, to tell it to who asked. */
export class Recorder implements Span {
  readonly parent: string;
  readonly #now: () => number;
  readonly #zero: number;
  readonly #note: Note;

  /** `now`: milliseconds of any clock. */
  constructor(parent: string, now: () => number, zero = now(), note: Note = { name: '', at: 0, ms: 0, attributes: {}, spans: [] }) {
    this.parent = parent;
    this.#now = now;
    this.#zero = zero;
    this.#note = note;
  }

  child(name: string, attributes: Attributes = {}): Span {
    const note: Note = { name, at: this.#now() - this.#zero, ms: 0, attributes, spans: [] };
    if (this.#note.spans.length < TOLD_MAX) this.#note.spans.push(note);
    return new Recorder(this.parent, this.#now, this.#zero, note);
  }

  set(attributes: Attributes): void {
    this.#note.attributes = { ...this.#note.attributes, ...attributes };
  }

  end(error?: unknown): void {
    this.#note.ms = this.#now() - this.#zero - this.#note.at;
    if (error !== undefined) this.#note.error = nameOf(error);
  }

  adopt(told: unknown, took: number): void {
    const spans = toldIn(told);
    this.#note.spans.push(...moved(spans, this.#now() - this.#zero - took + slack(spans, took)));
  }

  /** What was noted below it. */
  get told(): readonly Told[] {
    return this.#note.spans;
  }
}

/** Half of what the whole took beyond what was told: nobody knows which way was the longer one. */
function slack(spans: readonly Told[], took: number): number {
  return Math.max(0, took - Math.max(0, ...spans.map(({ at, ms }) => at + ms))) / 2;
}

function moved(spans: readonly Told[], by: number): Told[] {
  return spans.map((each) => ({ ...each, at: each.at + by, spans: moved(each.spans, by) }));
}

function toldIn(told: unknown, depth = 0): Told[] {
  if (!Array.isArray(told) || depth > DEPTH_MAX) return [];
  return told.slice(0, TOLD_MAX).flatMap((each: unknown) => {
    if (!isRecord(each)) return [];
    const { name, at, ms, attributes, error, spans } = each;
    if (typeof name !== 'string' || typeof at !== 'number' || typeof ms !== 'number' || !isRecord(attributes)) return [];
    return [
      {
        name: name.slice(0, 200),
        at,
        ms,
        attributes: Object.fromEntries(
          Object.entries(attributes).filter((entry): entry is [string, string | number | boolean] =>
            ['string', 'number', 'boolean'].includes(typeof entry[1]),
          ),
        ),
        ...(typeof error === 'string' ? { error } : {}),
        spans: toldIn(spans, depth + 1),
      },
    ];
  });
}

/** Runs a step of it, if somebody wants to know what that takes. */
export async function traced<T>(
  above: Span | undefined,
  name: string,
  attributes: Attributes,
  body: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  const span = above?.child(name, attributes);
  try {
    const result = await body(span);
    span?.end();
    return result;
  } catch (error) {
    span?.end(error);
    throw error;
  }
}
