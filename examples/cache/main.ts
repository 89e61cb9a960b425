/**
 * A web server of three processes with one cache. Each page is made once, by whichever process is asked first, and read by all of them where it
 * lies. Argument: directory (default ./space).
 */
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { open, struct, text, u32 } from '../../src/index.ts';
import { Cache } from './cache.ts';

const WORKERS = 3;
const PAGES = 50;
const REQUESTS = 300;

const Page = struct('Page', { html: text, maker: u32, words: u32 });
const directory = process.argv[2] ?? './space';

/** Takes its time, as a page that is put together from a database does. */
async function render(path: string): Promise<{ html: string; maker: number; words: number }> {
  const html = `<h1>${path}</h1> ${'word '.repeat(500)}`;
  await new Promise((resolve) => setTimeout(resolve, 10));
  return { html, maker: process.pid, words: html.split(' ').length };
}

function worker(): void {
  const space = open(directory);
  const pages = new Cache(space, '/pages', Page, { max: 1000, ttl: 60_000 });
  let made = 0;
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    const make = (): ReturnType<typeof render> => {
      made++;
      return render(path);
    };
    void pages.load(path, make, ({ html, words }) => `${html} (${words} words)`).then((html) => response.end(html));
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
  process.on('message', () => {
    process.send?.({ made, hits: pages.hits });
    server.close();
    server.closeAllConnections();
    space.close();
    process.disconnect();
  });
}

interface Account {
  readonly made: number;
  readonly hits: number;
}

async function primary(): Promise<void> {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  const told = <T>(): Promise<T[]> => Promise.all(workers.map((each) => new Promise<T>((resolve) => each.once('message', resolve))));
  // All of them listen at one port.
  const [port] = await told<number>();
  let next = 0;
  const visitor = async (): Promise<void> => {
    for (let n = next++; n < REQUESTS; n = next++) await (await fetch(`http://127.0.0.1:${port}/page-${n % PAGES}`)).text();
  };
  await Promise.all(Array.from({ length: 16 }, visitor));
  const accounts = told<Account>();
  for (const each of workers) each.send('enough');
  const sum = (what: keyof Account): Promise<number> => accounts.then((all) => all.reduce((total, account) => total + account[what], 0));
  console.log(`${REQUESTS} requests to ${WORKERS} processes: ${await sum('made')} pages made, for ${PAGES} that there are`);
}

if (cluster.isPrimary) await primary();
else worker();
