/** The smallest program: two persistent objects, one refers to the other. Run it again and again; kill it whenever you like. */
import { open, ref, struct, text, u32 } from '../../src/index.ts';

const Person = struct('Person', {
  name: text,
  visits: u32,
  get friend() {
    return ref(Person);
  },
});

const space = open(process.argv[2] ?? './space');
const alice = space.relaxed(() => {
  if (space.names.find('/alice') === undefined) {
    const bob = space.create(Person, { name: 'Bob' });
    space.names.set('/alice', space.create(Person, { name: 'Alice', friend: bob }));
  }
  const found = space.names.get('/alice', Person);
  found.visits++;
  return found;
});
console.log(`${alice.name} knows ${alice.friend?.name}; visit ${alice.visits}`);
process.kill(process.pid, 'SIGKILL');
