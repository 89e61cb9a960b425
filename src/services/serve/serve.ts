/** Serving a space to other users of the machine: twz serve --local. docs/serve.md */
import { TwzError } from '../../abi/errors.ts';
import { closeToOthers, listenLocally, ownUser, type LocalLink } from '../../host/local-sockets.ts';
import type { Space } from '../../space.ts';
import { Images } from './images.ts';
import { CapabilityJudge, type Judge } from './judge.ts';
import { SESSION_LIMITS, Session, type SessionLimits } from './session.ts';

export interface ServeOptions {
  /** Path of the socket (default: the space's directory with `.sock` behind it). Everybody may connect to it. */
  readonly socket?: string;
  /** What of objects' default rights other users have: bits of RIGHT (default 0). */
  readonly others?: number;
  /** Judges instead of default rights and capabilities. */
  readonly judge?: Judge;
  readonly limits?: Partial<ServeLimits>;
}

export interface ServeLimits extends SessionLimits {
  readonly clients: number;
  /** Clients of one user. */
  readonly clientsOfUser: number;
  /** Bytes of all images together. */
  readonly imageBytes: number;
}

const LIMITS: ServeLimits = { ...SESSION_LIMITS, clients: 256, clientsOfUser: 128, imageBytes: 2 ** 32 };

/** How often rights that were lost are looked for, in milliseconds, where nobody asks and nothing changes. */
const LOOK_MS = 50;

export interface Serving {
  readonly socket: string;
  readonly clients: number;
  readonly images: number;
  /** Cuts all clients off, and lets go of the socket. The space stays open. */
  close(): Promise<void>;
}

/** Throws NotSupported, ServeTaken, ServeExposed. */
export async function serve(space: Space, options: ServeOptions = {}): Promise<Serving> {
  const { kernel } = space;
  if (kernel.host.name !== 'linux') throw new TwzError('NotSupported', `serving needs the Linux host; this is the ${kernel.host.name} one`);
  const limits = { ...LIMITS, ...options.limits };
  const judge = options.judge ?? new CapabilityJudge(kernel, { owner: ownUser(), others: options.others ?? 0 });
  closeToOthers(space.directory);
  const images = new Images(kernel, limits.imageBytes);
  const sessions = new Set<Session>();
  const users = new Map<number, number>();
  const socket = options.socket ?? `${space.directory.replace(/\/+$/, '')}.sock`;
  const arrived = (link: LocalLink): void => {
    const { uid } = link.peer;
    const others = users.get(uid) ?? 0;
    if (sessions.size >= limits.clients || others >= limits.clientsOfUser) {
      link.end(true);
      return;
    }
    users.set(uid, others + 1);
    const session = new Session(space, judge, images, link, limits, () => {
      sessions.delete(session);
      users.set(uid, (users.get(uid) ?? 1) - 1);
    });
    sessions.add(session);
  };
  const server = await listenLocally(socket, arrived);
  let { epoch } = judge;
  let closed = false;
  const look = (): void => {
    if (closed || space.closed) return;
    const now = judge.epoch;
    if (now !== epoch) images.review();
    epoch = now;
    kernel.host.timer(LOOK_MS, look);
  };
  look();
  return {
    socket,
    get clients() {
      return sessions.size;
    },
    get images() {
      return images.count;
    },
    close: async () => {
      closed = true;
      for (const session of sessions) session.end();
      await server.close();
      images.close();
    },
  };
}
