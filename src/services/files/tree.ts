/**
 * Files and directories in a space, for programs of WASI and for `twz files`: directories are namespaces, files are objects (file.ts), links are
 * those of naming.
 *
 * A file that loses its last name while somebody in this process has it open stays until it is closed. It was created as counted, so
 * `space.reclaim()` finds it where the process was killed meanwhile.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { NodeKind, NodeStat, TreeDirectory, TreeEntry, TreeLink, TreeNode, TreeOther } from '../../runtime/wasi/tree.ts';
import type { Space } from '../../space.ts';
import { objectOf } from '../../lib/cursor.ts';
import { NamespaceNames, splitPath, type NameEntry } from '../naming.ts';
import { FileObject, SpaceFile, inodeOf } from './file.ts';

export interface TreeLimits {
  /** Bytes by which all files together may grow (default 4 GiB). */
  readonly bytesMax?: number;
  /** Bytes of one file (default 1 GiB). */
  readonly fileBytesMax?: number;
}

/** Nodes that are kept for the next one who looks, though nobody holds them. */
const NODES_MAX = 4096;

export class SpaceTree {
  readonly space: Space;
  readonly #bytesMax: number;
  readonly #fileBytesMax: number;
  readonly #waiting = new Set<SpaceFile>();
  readonly #files = new Map<ObjectId, SpaceFile>();
  readonly #directories = new Map<ObjectId, SpaceDirectory>();
  #grown = 0;

  constructor(space: Space, limits: TreeLimits = {}) {
    this.space = space;
    this.#bytesMax = limits.bytesMax ?? 2 ** 32;
    this.#fileBytesMax = limits.fileBytesMax ?? 2 ** 30;
  }

  /** The directory of that path; made, with those above it, if `make`. Throws NameMissing, NotNamespace, NameInvalid. */
  open(path: string, make = false): SpaceDirectory {
    const { names } = this.space;
    if (make) {
      this.space.relaxed(() => {
        const parts = path.split('/').filter((part) => part !== '');
        if (parts.length === 0) names.makeRoot();
        for (let i = 1; i <= parts.length; i++) {
          const part = `/${parts.slice(0, i).join('/')}`;
          if (names.lookup(part) === undefined) names.mkns(part);
        }
      });
    }
    const id = names.lookup(path);
    if (id === undefined) throw new TwzError('NameMissing', `nothing has the name "${path}"`, { path });
    return this.directoryOf(id, path);
  }

  /** What has that path, links followed. Throws NameMissing. */
  at(path: string): TreeNode {
    const id = this.space.names.lookup(path);
    if (id === undefined) throw new TwzError('NameMissing', `nothing has the name "${path}"`, { path });
    if (this.space.object(id).schema?.root === 'Namespace') return this.directoryOf(id, path);
    return this.nodeOf({ name: path, kind: 'object', id, owns: false, target: undefined }, this.open('/'));
  }

  directoryOf(id: ObjectId, path = ''): SpaceDirectory {
    const known = this.#directories.get(id);
    if (known !== undefined) return known;
    if (this.space.object(id).schema?.root !== 'Namespace')
      throw new TwzError('NotNamespace', `${path === '' ? `object ${id}` : `"${path}"`} is not a namespace`, { path });
    const made = new SpaceDirectory(this, id);
    if (this.#directories.size >= NODES_MAX) this.#directories.clear();
    this.#directories.set(id, made);
    return made;
  }

  nodeOf(entry: NameEntry, directory: SpaceDirectory): TreeNode {
    const { id, kind } = entry;
    if (kind === 'link') return new SpaceLink(entry.target ?? '', directory, entry.name);
    const file = id === undefined ? undefined : this.#files.get(id);
    if (file !== undefined) return file;
    if (id === undefined || !this.space.has(id)) return new SpaceOther(this, id);
    if (kind === 'namespace') return this.directoryOf(id);
    const root = this.space.object(id).schema?.root;
    return root === 'File' || root === 'Blob' ? this.#fileOf(id, root) : new SpaceOther(this, id);
  }

  #fileOf(id: ObjectId, root: 'File' | 'Blob'): SpaceFile {
    const made = new SpaceFile(this, id, root);
    if (this.#files.size >= NODES_MAX) {
      for (const [known, file] of this.#files) if (!file.held && !this.#waiting.has(file)) this.#files.delete(known);
    }
    this.#files.set(id, made);
    return made;
  }

  /** A file without a name yet, inside a transaction or in one of its own. It goes with the next `reclaim` where it gets none. */
  makeFile(): SpaceFile {
    const { space } = this;
    const now = this.now();
    const id = space.relaxed(() => {
      const content = { created: now, modified: now, accessed: now, changed: now, links: 1 };
      return objectOf(space.create(FileObject, content, { counted: true })).id;
    });
    return this.#fileOf(id, 'File');
  }

  now(): bigint {
    return BigInt(this.space.kernel.host.time()) * 1_000_000n;
  }

  // --- limits -------------------------------------------------------------------------------------------------------------

  demandRoom(size: number, end: number): void {
    if (end <= size) return;
    if (end > this.#fileBytesMax)
      throw new TwzError('FilesQuota', `a file of ${end} bytes; ${this.#fileBytesMax} are allowed`, { bytes: end });
    if (this.#grown + end - size > this.#bytesMax)
      throw new TwzError('FilesQuota', `files would grow by more than ${this.#bytesMax} bytes`, { bytes: this.#bytesMax });
  }

  grew(bytes: number): void {
    this.#grown = Math.max(0, this.#grown + bytes);
  }

  // --- what waits to be committed -----------------------------------------------------------------------------------------

  wait(file: SpaceFile): void {
    this.#waiting.add(file);
  }

  /** A change of the tree, in one transaction with all that was written before. The body may run more than once. */
  change<T>(body: () => T): T {
    const result = this.space.relaxed(() => {
      for (const file of this.#waiting) file.store();
      return body();
    });
    for (const file of this.#waiting) file.stored();
    this.#waiting.clear();
    return result;
  }

  /** Commits what was written so far. */
  flush(): void {
    if (this.#waiting.size > 0) this.change(() => undefined);
  }

  /** As `flush`, and it survives a power failure. Inside a transaction of the caller that is for the caller to see to. */
  sync(): void {
    this.flush();
    if (this.space.kernel.transaction === undefined) this.space.sync();
  }

  /** The last descriptor of a file without a name was closed. */
  discard(file: SpaceFile): void {
    this.#waiting.delete(file);
    this.#files.delete(file.id);
    this.change(() => {
      if (this.space.has(file.id)) this.space.delete(file.id);
    });
  }

  forget(id: ObjectId): void {
    this.#directories.delete(id);
    if (this.#files.get(id)?.held === false) this.#files.delete(id);
  }
}

class SpaceLink implements TreeLink {
  readonly kind = 'link';
  readonly target: string;
  readonly #directory: SpaceDirectory;
  readonly #name: string;

  constructor(target: string, directory: SpaceDirectory, name: string) {
    this.target = target;
    this.#directory = directory;
    this.#name = name;
  }

  stat(): NodeStat {
    const size = new TextEncoder().encode(this.target).length;
    return { kind: 'link', inode: linkInode(this.#directory.inode, this.#name), links: 1, size, accessed: 0n, modified: 0n, changed: 0n };
  }
}

/** A link is an entry, not an object: its number is made of where it stands. */
function linkInode(directory: bigint, name: string): bigint {
  let hash = directory ^ 0xcbf29ce484222325n;
  for (let i = 0; i < name.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(name.charCodeAt(i))) * 0x100000001b3n);
  return hash;
}

class SpaceOther implements TreeOther {
  readonly kind = 'other';
  readonly #tree: SpaceTree;
  readonly #id: ObjectId | undefined;

  constructor(tree: SpaceTree, id: ObjectId | undefined) {
    this.#tree = tree;
    this.#id = id;
  }

  stat(): NodeStat {
    const id = this.#id;
    const size = id === undefined || !this.#tree.space.has(id) ? 0 : this.#tree.space.object(id).size;
    return { kind: 'other', inode: id === undefined ? 0n : inodeOf(id), links: 1, size, accessed: 0n, modified: 0n, changed: 0n };
  }
}

function demandName(name: string): void {
  if (splitPath(`/${name}`).length !== 1) throw new TwzError('NameInvalid', `"${name}" is no name`, { name });
}

/**
 * What is refused is refused before a transaction begins: a run that is one transaction as a whole goes on after it, while what fails inside
 * one undoes the run.
 */
export class SpaceDirectory implements TreeDirectory {
  readonly kind = 'directory';
  readonly id: ObjectId;
  readonly inode: bigint;
  readonly #tree: SpaceTree;
  readonly #names: NamespaceNames;

  constructor(tree: SpaceTree, id: ObjectId) {
    this.#tree = tree;
    this.id = id;
    this.inode = inodeOf(id);
    this.#names = new NamespaceNames(tree.space, id);
  }

  /** Its names, if it was not removed. */
  #live(): NamespaceNames {
    if (!this.#names.exists) throw new TwzError('NameMissing', `directory ${this.id} was removed`, { id: this.id });
    return this.#names;
  }

  exists(): boolean {
    return this.#names.exists;
  }

  stat(): NodeStat {
    this.#live();
    return { kind: 'directory', inode: this.inode, links: 1, size: 0, accessed: 0n, modified: 0n, changed: 0n };
  }

  /** The directory of that name. Throws NameMissing, FileKind. */
  directory(name: string): SpaceDirectory {
    const node = this.find(name);
    if (node === undefined) throw new TwzError('NameMissing', `nothing has the name "${name}"`, { name });
    if (!(node instanceof SpaceDirectory)) throw new TwzError('FileKind', `"${name}" is not a directory`, { name });
    return node;
  }

  find(name: string): TreeNode | undefined {
    const entry = this.#live().find(name);
    return entry === undefined ? undefined : this.#tree.nodeOf(entry, this);
  }

  entries(): TreeEntry[] {
    return this.#live()
      .list()
      .map((entry) => {
        const { name, id } = entry;
        const kind: NodeKind = entry.kind === 'namespace' ? 'directory' : this.#tree.nodeOf(entry, this).kind;
        return { name, kind, inode: kind === 'link' || id === undefined ? linkInode(this.inode, name) : inodeOf(id) };
      });
  }

  makeFile(name: string): SpaceFile {
    const names = this.#free(name);
    return this.#tree.change(() => {
      const file = this.#tree.makeFile();
      names.put(name, 'object', file.id, true);
      return file;
    });
  }

  /** Gives a file that was made without one a name, in the place of what has it. */
  place(name: string, file: SpaceFile): void {
    const names = this.#live();
    demandName(name);
    const after = this.#tree.change(() => {
      const dropped = names.find(name) === undefined ? () => undefined : this.#drop(name);
      names.put(name, 'object', file.id, true);
      return dropped;
    });
    after();
  }

  makeDirectory(name: string): void {
    const names = this.#free(name);
    this.#tree.change(() => names.put(name, 'namespace', NamespaceNames.make(this.#tree.space), true));
  }

  makeLink(name: string, target: string): void {
    const names = this.#free(name);
    this.#tree.change(() => names.putLink(name, target));
  }

  /** No name owns a file that has several: it goes when the last of them does. */
  link(name: string, from: TreeDirectory, fromName: string): void {
    const source = this.#ours(from);
    const names = this.#free(name);
    const file = source.find(fromName);
    if (!(file instanceof SpaceFile)) throw new TwzError('FileKind', `"${fromName}" is not a file`, { name: fromName });
    if (!file.countsLinks) throw new TwzError('NotSupported', `object ${file.id} is a Blob: it does not count its names`);
    this.#tree.change(() => {
      source.#names.setOwns(fromName, false);
      names.put(name, 'object', file.id, false);
      file.setLinks(file.links + 1);
    });
  }

  #ours(directory: TreeDirectory): SpaceDirectory {
    if (!(directory instanceof SpaceDirectory) || directory.#tree !== this.#tree)
      throw new TwzError('WrongSpace', 'the directory is of another tree');
    return directory;
  }

  unlink(name: string): void {
    this.#demandEmpty(this.#entry(name));
    const after = this.#tree.change(() => this.#drop(name));
    after();
  }

  removeDirectory(name: string): void {
    this.unlink(name);
  }

  #entry(name: string): NameEntry {
    const entry = this.#live().find(name);
    if (entry === undefined) throw new TwzError('NameMissing', `nothing has the name "${name}"`, { name });
    return entry;
  }

  #demandEmpty({ name, kind, id }: NameEntry): void {
    if (kind !== 'namespace' || id === undefined || !this.#tree.space.has(id)) return;
    const { count } = new NamespaceNames(this.#tree.space, id);
    if (count > 0) throw new TwzError('NamespaceNotEmpty', `"${name}" holds ${count} names`, { path: name, count });
  }

  /** Its names, where that one is still to be had. */
  #free(name: string): NamespaceNames {
    demandName(name);
    const names = this.#live();
    if (names.find(name) !== undefined) throw new TwzError('NameExists', `"${name}" is taken`, { name });
    return names;
  }

  /** Takes a name away, inside a transaction. What is to be done once that is committed is returned. */
  #drop(name: string): () => void {
    const { space } = this.#tree;
    const entry = this.#entry(name);
    const { id, kind, owns } = entry;
    if (kind === 'link' || id === undefined || !space.has(id)) {
      this.#names.take(name);
      return () => undefined;
    }
    this.#demandEmpty(entry);
    const node = kind === 'object' ? this.#tree.nodeOf(entry, this) : undefined;
    this.#names.take(name);
    if (node instanceof SpaceFile) {
      if (node.links > 1) {
        node.setLinks(node.links - 1);
        return () => undefined;
      }
      if (node.held) {
        return () => {
          node.removed = true;
        };
      }
      if (owns || node.links === 1) space.delete(id);
    } else if (owns) space.delete(id);
    return () => this.#tree.forget(id);
  }

  move(name: string, to: TreeDirectory, toName: string): void {
    const target = this.#ours(to);
    const entry = this.#entry(name);
    if (target === this && name === toName) return;
    demandName(toName);
    const over = target.#live().find(toName);
    if (over?.id !== undefined && over.id === entry.id) return;
    if (over !== undefined) target.#demandEmpty(over);
    const { id } = entry;
    if (entry.kind === 'namespace' && id !== undefined && this.#isBelow(target.id, id))
      throw new TwzError('NameInvalid', `"${name}" cannot move into itself`, { from: name, to: toName });
    const after = this.#tree.change(() => {
      const dropped = over === undefined ? () => undefined : target.#drop(toName);
      this.#names.take(name);
      if (entry.kind === 'link' || id === undefined) target.#names.putLink(toName, entry.target ?? '');
      else target.#names.put(toName, entry.kind, id, entry.owns);
      return dropped;
    });
    after();
  }

  #isBelow(id: ObjectId, top: ObjectId, seen: Set<ObjectId> = new Set()): boolean {
    if (id === top) return true;
    if (seen.has(top) || !this.#tree.space.has(top)) return false;
    seen.add(top);
    return new NamespaceNames(this.#tree.space, top)
      .list()
      .some((entry) => entry.kind === 'namespace' && entry.id !== undefined && this.#isBelow(id, entry.id, seen));
  }

  sync(): void {
    this.#tree.sync();
  }
}
