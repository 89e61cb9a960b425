/**
 * Sessions as the stores that Express (express-session) and Fastify (@fastify/session) want:
 *
 *   app.use(session({ store: expressStore(session.Store, sessions), secret, … }));
 *   fastify.register(fastifySession, { store: callbackStore(sessions), secret, … });
 *
 * Both load a session when a request comes and save it as a whole when it ends, so of two requests for one session at a time the later one counts.
 * Use `sessions.update` for what must not get lost.
 */
import type { Sessions } from './sessions.ts';

/** What of a session is looked at here. */
export interface SessionLike {
  readonly cookie?: { readonly expires?: Date | string | null | undefined; readonly maxAge?: number | null | undefined };
}

type Done = (error?: unknown) => void;
type Answer<R> = (error: unknown, result?: R | null) => void;

export interface CallbackStore {
  get(id: string, done: Answer<never>): void;
  set(id: string, session: SessionLike, done?: Done): void;
  touch(id: string, session: SessionLike, done?: Done): void;
  destroy(id: string, done?: Done): void;
  clear(done?: Done): void;
  length(done: Answer<number>): void;
  all(done: Answer<Record<string, never>>): void;
}

/** Does it, and says how it went when the caller has gone on: so errors in a callback are the callback's. */
function answer<R>(done: ((error: unknown, result?: R) => void) | undefined, work: () => R): void {
  let error: unknown = null;
  let result: R | undefined;
  try {
    result = work();
  } catch (caught) {
    error = caught;
  }
  if (done === undefined) {
    if (error !== null) throw error;
  } else setImmediate(() => (error === null ? done(null, result) : done(error)));
}

export function callbackStore(sessions: Sessions): CallbackStore {
  const ttlOf = ({ cookie }: SessionLike): number => {
    if (typeof cookie?.maxAge === 'number') return cookie.maxAge;
    const { expires } = cookie ?? {};
    return expires === undefined || expires === null ? sessions.ttl : new Date(expires).getTime() - Date.now();
  };
  return {
    get: (id, done) =>
      answer(done, () => {
        const data = sessions.load(id);
        return data === undefined ? null : (JSON.parse(data) as never);
      }),
    set: (id, session, done) => answer(done, () => sessions.save(id, JSON.stringify(session), ttlOf(session))),
    touch: (id, session, done) => answer(done, () => sessions.touch(id, ttlOf(session))),
    destroy: (id, done) => answer(done, () => void sessions.destroy(id)),
    clear: (done) => answer(done, () => sessions.clear()),
    length: (done) => answer(done, () => sessions.size),
    all: (done) => answer(done, () => Object.fromEntries([...sessions.all()].map(([id, data]) => [id, JSON.parse(data) as never]))),
  };
}

/** `Store` is express-session's own: what that has beside these methods stays. */
export function expressStore<S extends object>(Store: abstract new () => S, sessions: Sessions): S & CallbackStore {
  const store: S = Reflect.construct(Store, []) as S;
  return Object.assign(store, callbackStore(sessions));
}
