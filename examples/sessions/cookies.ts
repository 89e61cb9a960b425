/**
 * A session for each visitor by a cookie, for servers without a session library: `honoSessions` is a middleware for Hono, `httpSession`
 * does the same for node:http.
 *
 * The ID is 192 random bits; one that the store does not know is not taken over from the cookie. Sign in with `renew`, so that an ID that was
 * there before is worth nothing.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Sessions } from './sessions.ts';

export interface CookieOptions {
  /** Name of the cookie (default "sid"). */
  readonly name?: string;
  /** Only over HTTPS (default true). */
  readonly secure?: boolean;
}

type Data = Record<string, unknown>;

/** One visitor's session, as one request sees it. */
export class VisitorSession {
  readonly #sessions: Sessions;
  #id: string | undefined;
  /** The ID that the browser has. */
  readonly #sent: string | undefined;

  constructor(sessions: Sessions, sent: string | undefined) {
    this.#sessions = sessions;
    this.#sent = sent;
    this.#id = sent !== undefined && sessions.load(sent) !== undefined ? sent : undefined;
  }

  /** Undefined as long as nothing was stored. */
  get id(): string | undefined {
    return this.#id;
  }

  /** What it holds now: a copy. */
  get data(): Data {
    const data = this.#id === undefined ? undefined : this.#sessions.load(this.#id);
    return data === undefined ? {} : (JSON.parse(data) as Data);
  }

  /** Changes what it holds now, whatever other requests do meanwhile; begins a session where there is none. `change` may run more than once. */
  update(change: (data: Data) => void): void {
    const apply = (json: string): string => {
      const data = JSON.parse(json) as Data;
      change(data);
      return JSON.stringify(data);
    };
    if (this.#id !== undefined && this.#sessions.update(this.#id, apply) !== undefined) return;
    this.#id = randomBytes(24).toString('base64url');
    this.#sessions.save(this.#id, apply('{}'));
  }

  /** The same content under a new ID; the old one is no longer good. */
  renew(): void {
    const data = JSON.stringify(this.data);
    if (this.#id !== undefined) this.#sessions.destroy(this.#id);
    this.#id = randomBytes(24).toString('base64url');
    this.#sessions.save(this.#id, data);
  }

  destroy(): void {
    if (this.#id !== undefined) this.#sessions.destroy(this.#id);
    this.#id = undefined;
  }

  /** What the browser must be told, if anything. The session lives on from here. */
  cookie({ name = 'sid', secure = true }: CookieOptions = {}): string | undefined {
    const rest = `; Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
    if (this.#id === undefined) return this.#sent === undefined ? undefined : `${name}=; Max-Age=0${rest}`;
    this.#sessions.touch(this.#id);
    return `${name}=${this.#id}; Max-Age=${Math.ceil(this.#sessions.ttl / 1000)}${rest}`;
  }
}

function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=');
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return undefined;
}

/** The session of a request to node:http. Say all that is to be said of it before `response` sends its head. */
export function httpSession(
  sessions: Sessions,
  request: IncomingMessage,
  response: ServerResponse,
  options: CookieOptions = {},
): VisitorSession {
  const session = new VisitorSession(sessions, cookieIn(request.headers.cookie, options.name ?? 'sid'));
  const writeHead = response.writeHead.bind(response);
  response.writeHead = ((...args: Parameters<typeof writeHead>) => {
    const cookie = session.cookie(options);
    if (cookie !== undefined) response.appendHeader('set-cookie', cookie);
    return writeHead(...args);
  }) as typeof response.writeHead;
  return session;
}

/** What of Hono's context is used here. */
export interface HonoContext {
  readonly req: { header(name: string): string | undefined };
  header(name: string, value: string, options?: { readonly append?: boolean }): void;
  set(key: 'session', value: VisitorSession): void;
}

/** For `app.use`: handlers have the session as `c.get('session')`. */
export function honoSessions(
  sessions: Sessions,
  options: CookieOptions = {},
): (c: HonoContext, next: () => Promise<void>) => Promise<void> {
  return async (c, next) => {
    const session = new VisitorSession(sessions, cookieIn(c.req.header('cookie'), options.name ?? 'sid'));
    c.set('session', session);
    await next();
    const cookie = session.cookie(options);
    if (cookie !== undefined) c.header('set-cookie', cookie, { append: true });
  };
}
