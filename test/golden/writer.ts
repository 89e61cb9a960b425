/**
 * Changes a space without end and prints a line for each transaction: a process to be killed. `node writer.js DIRECTORY SEED`.
 * Segments are small, so that the log goes through many of them, and some transactions take several frames.
 */
import { bytes, objectOf, open, ref, struct, text, u32, type Infer } from '../../src/index.ts';

const Node = struct('Node', {
  count: u32,
  name: text,
  blob: bytes,
  get next() {
    return ref(Node);
  },
});
type Node = Infer<typeof Node>;

const [directory = '', seed = '1'] = process.argv.slice(2);
let state = Number(seed);
/** A small generator: the same seed gives the same transactions. */
function below(n: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
}

const space = open(directory, { segmentSize: 65536, checkpointBytes: 1 << 20 });
const nodes: Node[] = [];
for (let i = 0; ; i++) {
  space.relaxed(() => {
    if (nodes.length < 20 || below(10) === 0) nodes.push(space.create(Node, { name: `node ${i}` }));
    const node = nodes[below(nodes.length)];
    const other = nodes[below(nodes.length)];
    if (node === undefined || other === undefined) return;
    node.count++;
    node.next = other;
    if (below(4) === 0) node.blob = new Uint8Array(below(60000)).fill(i);
    if (below(5) === 0) node.name = 'x'.repeat(below(300));
    if (nodes.length > 40) {
      const gone = nodes.splice(below(nodes.length), 1);
      for (const each of gone) space.delete(objectOf(each));
    }
  });
  if (below(50) === 0) space.sync();
  process.stdout.write('.\n');
}
