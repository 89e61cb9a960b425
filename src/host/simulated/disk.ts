/**
 * Directories and names of the simulated disk, and what becomes of all of it in a crash.
 *
 * A name created, renamed or removed is a change of its directory, lost in a power failure unless the directory was synced. A rename
 * within a directory survives as a whole or not at all, as on every journaling file system.
 */
import { TwzError } from '../../abi/errors.ts';
import { SimulatedFile } from './file.ts';
import { Loss, type LossPlan } from './loss.ts';

interface NameChange {
  readonly change: number;
  readonly removed: string | undefined;
  readonly name: string | undefined;
  readonly node: Node | undefined;
}

type Node = SimulatedFile | Directory;

class Directory {
  readonly entries = new Map<string, Node>();
  readonly durable = new Map<string, Node>();
  changes: NameChange[] = [];

  change(change: number, removed: string | undefined, name?: string, node?: Node): void {
    const made = { change, removed, name, node };
    apply(this.entries, made);
    this.changes.push(made);
  }

  sync(upTo: number): void {
    for (const change of this.changes) if (change.change <= upTo) apply(this.durable, change);
    this.changes = this.changes.filter((change) => change.change > upTo);
  }
}

function apply(entries: Map<string, Node>, { removed, name, node }: NameChange): void {
  if (removed !== undefined) entries.delete(removed);
  if (name !== undefined && node !== undefined) entries.set(name, node);
}

const PATHS_MAX = 4096;
const paths = new Map<string, readonly string[]>();

/** The parts of a path; the same paths come again and again. */
function components(path: string): readonly string[] {
  let parts = paths.get(path);
  if (parts !== undefined) return parts;
  parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (paths.size >= PATHS_MAX) paths.clear();
  paths.set(path, parts);
  return parts;
}

const missing = (path: string): TwzError => new TwzError('FileMissing', `${path}: no such file or directory`, { path, errno: 'ENOENT' });

export class Disk {
  #root = new Directory();
  #changes = 0;
  /** Grows with each sync: while it stays, so does what a power failure cannot take. */
  syncs = 0;
  #pendingAt = '';
  #pendingChanges: readonly number[] = [];
  /** Files with a shared mapping. */
  readonly mapped: Set<SimulatedFile> = new Set();

  /** Number of the newest change. */
  get newest(): number {
    return this.#changes;
  }

  readonly nextChange = (): number => ++this.#changes;

  // --- names ----------------------------------------------------------------------------------------------------------------

  #find(path: string): Node | undefined {
    return this.#walk(components(path));
  }

  #walk(parts: readonly string[]): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const part of parts) {
      if (!(node instanceof Directory)) return undefined;
      node = node.entries.get(part);
    }
    return node;
  }

  directory(path: string): Directory {
    const node = this.#find(path);
    if (!(node instanceof Directory)) throw missing(path);
    return node;
  }

  file(path: string): SimulatedFile | undefined {
    const node = this.#find(path);
    if (node instanceof Directory) throw new TwzError('IoError', `${path} is a directory`, { path, errno: 'EISDIR' });
    return node;
  }

  exists(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  #parent(path: string): { parent: Directory; name: string } {
    const parts = components(path);
    const name = parts[parts.length - 1];
    const parent = this.#walk(parts.slice(0, -1));
    if (name === undefined || !(parent instanceof Directory)) throw missing(path);
    return { parent, name };
  }

  create(path: string): SimulatedFile {
    const { parent, name } = this.#parent(path);
    const file = new SimulatedFile();
    parent.change(this.nextChange(), undefined, name, file);
    return file;
  }

  makeDirectory(path: string): void {
    let at = this.#root;
    for (const part of components(path)) {
      let next = at.entries.get(part);
      if (next instanceof SimulatedFile)
        throw new TwzError('FileMissing', `${path}: ${part} is not a directory`, { path, errno: 'ENOTDIR' });
      if (next === undefined) {
        next = new Directory();
        at.change(this.nextChange(), undefined, part, next);
      }
      at = next;
    }
  }

  rename(from: string, to: string): void {
    const source = this.#parent(from);
    const target = this.#parent(to);
    const node = source.parent.entries.get(source.name);
    if (node === undefined) throw missing(from);
    const change = this.nextChange();
    if (source.parent === target.parent) source.parent.change(change, source.name, target.name, node);
    else {
      target.parent.change(change, undefined, target.name, node);
      source.parent.change(change, source.name);
    }
  }

  remove(path: string): void {
    const { parent, name } = this.#parent(path);
    if (parent.entries.has(name)) parent.change(this.nextChange(), name);
  }

  syncAll(path: string, upTo: number): void {
    const sync = (node: Node): void => {
      if (node instanceof SimulatedFile) {
        node.fold(this.nextChange);
        node.sync(upTo);
      } else {
        for (const inner of node.entries.values()) sync(inner);
        node.sync(upTo);
      }
    };
    sync(this.directory(path));
    this.syncs++;
  }

  // --- crashes --------------------------------------------------------------------------------------------------------------

  #eachNode(visit: (node: Node) => void): void {
    const seen = new Set<Node>();
    const walk = (node: Node): void => {
      if (seen.has(node)) return;
      seen.add(node);
      visit(node);
      if (node instanceof SimulatedFile) return;
      for (const inner of node.entries.values()) walk(inner);
      for (const inner of node.durable.values()) walk(inner);
      for (const { node: inner } of node.changes) if (inner !== undefined) walk(inner);
    };
    walk(this.#root);
  }

  /** Takes over what was stored through shared mappings. */
  fold(): void {
    for (const file of this.mapped) {
      if (file.mapping === undefined) this.mapped.delete(file);
      else file.fold(this.nextChange);
    }
  }

  /** The changes that no sync has covered, ascending. */
  pending(): readonly number[] {
    this.fold();
    const at = `${this.#changes} ${this.syncs}`;
    if (at !== this.#pendingAt) {
      this.#pendingChanges = this.#collectPending();
      this.#pendingAt = at;
    }
    return this.#pendingChanges;
  }

  #collectPending(): number[] {
    const pending = new Set<number>();
    this.#eachNode((node) => {
      if (node instanceof SimulatedFile) node.pending(pending);
      else for (const { change } of node.changes) pending.add(change);
    });
    return [...pending].sort((a, b) => a - b);
  }

  /** The disk as it is found when the power is back. */
  afterPowerLoss(plan: LossPlan): Disk {
    const loss = new Loss(plan, this.pending());
    const copies = new Map<Node, Node>();
    const copy = (node: Node): Node => {
      let made = copies.get(node);
      if (made !== undefined) return made;
      if (node instanceof SimulatedFile) {
        made = node.afterPowerLoss(loss);
        copies.set(node, made);
        return made;
      }
      const directory = new Directory();
      copies.set(node, directory);
      const entries = new Map(node.durable);
      for (const change of node.changes) if (loss.survives(change.change)) apply(entries, change);
      for (const [name, inner] of entries) {
        const innerCopy = copy(inner);
        directory.entries.set(name, innerCopy);
        directory.durable.set(name, innerCopy);
      }
      return directory;
    };
    return this.#with(copy);
  }

  /** The disk as another process finds it when this one has died. */
  afterProcessDeath(): Disk {
    this.fold();
    const copies = new Map<Node, Node>();
    const copy = (node: Node): Node => {
      let made = copies.get(node);
      if (made !== undefined) return made;
      if (node instanceof SimulatedFile) {
        made = node.afterProcessDeath();
        copies.set(node, made);
        return made;
      }
      const directory = new Directory();
      copies.set(node, directory);
      for (const [name, inner] of node.entries) directory.entries.set(name, copy(inner));
      for (const [name, inner] of node.durable) directory.durable.set(name, copy(inner));
      directory.changes = node.changes.map((change) => ({ ...change, node: change.node === undefined ? undefined : copy(change.node) }));
      return directory;
    };
    return this.#with(copy);
  }

  #with(copy: (node: Node) => Node): Disk {
    const disk = new Disk();
    const root = copy(this.#root);
    if (root instanceof Directory) disk.#root = root;
    disk.#changes = this.#changes;
    return disk;
  }
}
