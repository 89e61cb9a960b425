/** The node that holds the ring: `rendezvous-node.js DIRECTORY SERVER COUNT`, says the ring's ID when it has joined. */
import { fileURLToPath } from 'node:url';
import { join } from '../src/services/cluster/cluster.ts';
import { open, ref, struct, u32, vec, type Infer, type Space } from '../src/index.ts';
import { ringOf, type Ring as Data } from './rendezvous-ring.ts';

export const RENDEZVOUS_NODE: string = fileURLToPath(import.meta.url);

export const Place = struct('Place', {
  at: u32,
  value: u32,
  get next() {
    return ref(Place);
  },
});
export const Ring = struct('Ring', { places: vec(ref(Place)) });
export type Ring = Infer<typeof Ring>;

function create(space: Space, { next, value }: Data): Ring {
  return space.relaxed(() => {
    const ring = space.create(Ring);
    const places = Array.from(value, (each, at) => space.make(Place, ring, { at, value: each }));
    for (const [i, place] of places.entries()) place.next = places[next[i] ?? 0] ?? null;
    for (const place of places) ring.places.push(place);
    return ring;
  });
}

if (process.argv[1] === RENDEZVOUS_NODE) {
  const [, , directory = '', server = '', count = '0'] = process.argv;
  const space = open(directory);
  const ring = create(space, ringOf(Number(count)));
  const cluster = await join(space, { servers: [server], name: 'holder' });
  process.send?.(space.object(ring).id);
  process.once('disconnect', () => {
    void cluster.leave().then(() => {
      space.close();
      process.exit(0);
    });
  });
}
