/** A small server for those who look: GET and HEAD, on an address of this machine only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { socketError, type Listening } from './sockets.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const LOOPBACK = '127.0.0.1';
/** A page of another site that has its name lead here would say that name. */
const OWN_NAMES: ReadonlySet<string> = new Set([LOOPBACK, 'localhost']);
const REQUEST_MS = 5000;
const CONNECTIONS_MAX = 64;

const plain = (status: number, body: string): HttpAnswer => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` });

/** `answer` gets the path, without what stands behind a `?`; undefined where there is nothing. Throws AddressTaken and the like. */
export function listenForHttp(port: number, answer: (path: string) => Promise<HttpAnswer | undefined>): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
      void answered(request, answer).then((given) => send(request, response, given));
    });
    server.maxConnections = CONNECTIONS_MAX;
    server.once('error', (error) => reject(socketError(`${LOOPBACK}:${port}`, error)));
    server.listen({ host: LOOPBACK, port }, () => {
      const address = server.address() as AddressInfo;
      resolve({
        local: { host: address.address, port: address.port },
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}

async function answered(request: IncomingMessage, answer: (path: string) => Promise<HttpAnswer | undefined>): Promise<HttpAnswer> {
  const { method, url = '/', headers } = request;
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'GET and HEAD only');
  if (!OWN_NAMES.has((headers.host ?? '').replace(/:\d+$/, ''))) return plain(403, `ask ${LOOPBACK}`);
  try {
    return (await answer(url.replace(/\?.*$/s, ''))) ?? plain(404, 'nothing is here');
  } catch (error) {
    return plain(503, error instanceof Error ? error.message : String(error));
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, body }: HttpAnswer): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'content-type': type,
    'content-length': bytes.length,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
