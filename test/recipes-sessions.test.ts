/** T13: the sessions of the examples, shared by the processes of a server. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { honoSessions, type VisitorSession } from '../examples/sessions/cookies.ts';
import { Sessions } from '../examples/sessions/sessions.ts';
import { callbackStore, expressStore } from '../examples/sessions/stores.ts';
import { Ground } from './hosts.ts';
import { Colleague } from './recipes-data.ts';

interface Kept {
  readonly user?: string;
  readonly cookie?: { readonly maxAge?: number; readonly expires?: Date };
}

test('T13 sessions: the store keeps what Express and Fastify give it, until it expires', async (t) => {
  const ground = new Ground('linux', t);
  let now = Date.now();
  const sessions = new Sessions(ground.open(), '/sessions', { ttl: 1000, clock: () => now });
  class Store extends EventEmitter {
    readonly regenerate = 'of express-session';
  }
  const store = expressStore(Store, sessions);
  const elsewhere = callbackStore(new Sessions(ground.open(), '/sessions', { ttl: 1000, clock: () => now }));
  assert.ok(store instanceof EventEmitter && store.regenerate === 'of express-session');
  const set = (id: string, session: Kept): Promise<unknown> => new Promise((resolve) => store.set(id, session, resolve));
  const get = (id: string): Promise<Kept | null | undefined> =>
    new Promise((resolve, reject) => elsewhere.get(id, (error, found) => (error === null ? resolve(found) : reject(error as Error))));
  assert.equal(await get('a'), null);
  assert.equal(await set('a', { user: 'ann' }), null);
  await set('b', { user: 'bob', cookie: { maxAge: 5000 } });
  await set('c', { user: 'eve', cookie: { expires: new Date(Date.now() + 1e6) } });
  assert.equal((await get('a'))?.user, 'ann');
  assert.equal(await new Promise((resolve) => elsewhere.length((_, n) => resolve(n))), 3);
  now += 900;
  await new Promise((resolve) => elsewhere.touch('a', {}, resolve));
  now += 900;
  assert.deepEqual([(await get('a'))?.user, (await get('b'))?.user], ['ann', 'bob']);
  now += 200;
  assert.deepEqual([await get('a'), (await get('b'))?.user], [null, 'bob']);
  assert.deepEqual([sessions.size, sessions.sweep()], [2, 1]);
  const all = await new Promise<Record<string, Kept> | null | undefined>((resolve) => store.all((_, found) => resolve(found)));
  assert.deepEqual(Object.keys(all ?? {}).sort(), ['b', 'c']);
  await new Promise((resolve) => store.destroy('b', resolve));
  assert.equal(await get('b'), null);
  await new Promise((resolve) => store.clear(resolve));
  assert.equal(sessions.size, 0);
  const loop: Record<string, unknown> = {};
  loop['self'] = loop;
  assert.ok((await set('d', loop)) instanceof TypeError);
});

test('T13 sessions: the Hono middleware makes, finds, renews and ends sessions', async (t) => {
  const sessions = new Sessions(new Ground('linux', t).open(), '/sessions');
  const middleware = honoSessions(sessions);
  const request = async (cookie: string | undefined, handler: (session: VisitorSession) => void): Promise<string | undefined> => {
    let sent: string | undefined;
    let session: VisitorSession | undefined;
    const context = {
      req: { header: (name: string) => (name === 'cookie' ? cookie : undefined) },
      header: (name: string, value: string) => void (sent = `${name}: ${value}`),
      set: (_: 'session', value: VisitorSession) => void (session = value),
    };
    await middleware(context, () => {
      assert.ok(session !== undefined);
      handler(session);
      return Promise.resolve();
    });
    return sent;
  };
  const idIn = (header: string | undefined): string =>
    /^set-cookie: sid=([\w-]{32}); Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax; Secure$/.exec(header ?? '')?.[1] ?? '';
  assert.equal(await request(undefined, () => undefined), undefined);
  const first = idIn(await request(undefined, (session) => session.update((data) => (data['n'] = 1))));
  assert.notEqual(first, '');
  const renewed = idIn(
    await request(`theme=dark; sid=${first}`, (session) => {
      assert.deepEqual(session.data, { n: 1 });
      session.renew();
    }),
  );
  assert.notEqual(renewed, first);
  // An ID that is not known is not taken over.
  const other = idIn(await request(`sid=${first}`, (session) => session.update((data) => (data['n'] = 2))));
  assert.ok(other !== '' && other !== first);
  const out = await request(`sid=${renewed}`, (session) => {
    assert.deepEqual(session.data, { n: 1 });
    session.destroy();
  });
  assert.match(out ?? '', /^set-cookie: sid=; Max-Age=0/);
  assert.equal(sessions.load(renewed), undefined);
});

test('T13 sessions: servers share them at once, lose no update, and a server that is killed takes none with it', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const servers = Array.from({ length: 3 }, () => new Colleague(t, ground.directory));
  const ports = await Promise.all(servers.map(async (server) => Number(await server.does('serve'))));
  let cookie = '';
  const ask = async (server: number, path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${ports[server]}${path}`, { headers: cookie === '' ? {} : { cookie } });
    const told = response.headers.get('set-cookie');
    if (told !== null) cookie = told.split(';', 1)[0] ?? '';
    return response.json();
  };
  assert.deepEqual(await ask(0, '/'), {});
  assert.deepEqual(await ask(0, '/in?ann'), { user: 'ann' });
  const signedIn = cookie;
  assert.deepEqual(await ask(1, '/'), { user: 'ann' });
  await Promise.all(Array.from({ length: 60 }, (_, i) => ask(i % 3, '/count')));
  assert.deepEqual(await ask(2, '/'), { user: 'ann', count: 60 });
  assert.equal(cookie, signedIn);
  await Promise.all([servers[0]?.kill(), ...Array.from({ length: 20 }, (_, i) => ask(1 + (i % 2), '/count'))]);
  assert.deepEqual(await ask(1, '/'), { user: 'ann', count: 80 });
  assert.deepEqual(await ask(2, '/in?bob'), { user: 'bob', count: 80 });
  assert.notEqual(cookie, signedIn);
  const bob = cookie;
  cookie = signedIn;
  assert.deepEqual(await ask(1, '/'), {});
  cookie = bob;
  assert.deepEqual(await ask(1, '/out'), {});
  cookie = bob;
  assert.deepEqual(await ask(2, '/'), {});
  space.close();
  for (const server of servers) await server.kill();
  const again = ground.open();
  assert.equal(new Sessions(again, '/sessions').size, 0);
});
