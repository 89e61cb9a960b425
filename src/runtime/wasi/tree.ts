/**
 * The file system as WASI needs it: a tree of nodes. Nodes are held, not paths, so an open directory stays what it is wherever it is moved.
 * Everything here throws TwzError where it fails, by the names of the naming service and of objects; wasi.ts makes error numbers of them.
 */

export type NodeKind = 'file' | 'directory' | 'link' | 'other';

export interface NodeStat {
  readonly kind: NodeKind;
  readonly inode: bigint;
  readonly links: number;
  /** Bytes. */
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly accessed: bigint;
  readonly modified: bigint;
  readonly changed: bigint;
}

interface Node {
  readonly kind: NodeKind;
  stat(): NodeStat;
}

export interface TreeFile extends Node {
  readonly kind: 'file';
  size(): number;
  /** Returns how many bytes there were. */
  read(at: number, into: Uint8Array): number;
  /** Takes a copy of the bytes. What lies between the end and `at` reads as zeros. */
  write(at: number, bytes: Uint8Array): void;
  /** Cuts the file, or lets it go on with zeros. */
  resize(size: number): void;
  setTimes(accessed: bigint | undefined, modified: bigint | undefined): void;
  /** Everything that was written survives a power failure when this returns. */
  sync(): void;
  /** A descriptor holds it from now on: it stays although its last name goes. */
  hold(): void;
  /** A descriptor less. What was written is committed. */
  letGo(): void;
}

export interface TreeLink extends Node {
  readonly kind: 'link';
  readonly target: string;
}

/** An object that is neither: it has a name and a size, and cannot be opened. */
export interface TreeOther extends Node {
  readonly kind: 'other';
}

export type TreeNode = TreeFile | TreeDirectory | TreeLink | TreeOther;

export interface TreeEntry {
  readonly name: string;
  readonly kind: NodeKind;
  readonly inode: bigint;
}

export interface TreeDirectory extends Node {
  readonly kind: 'directory';
  readonly inode: bigint;
  find(name: string): TreeNode | undefined;
  /** In an order that stays while nothing changes. */
  entries(): TreeEntry[];
  makeFile(name: string): TreeFile;
  makeDirectory(name: string): void;
  makeLink(name: string, target: string): void;
  /** One more name for the file that has a name already. */
  link(name: string, from: TreeDirectory, fromName: string): void;
  /** Takes a name away that is no directory's. */
  unlink(name: string): void;
  /** Throws NamespaceNotEmpty. */
  removeDirectory(name: string): void;
  /** Moves a name, in one transaction, over what has the other name. */
  move(name: string, to: TreeDirectory, toName: string): void;
  sync(): void;
  /** Still there? */
  exists(): boolean;
}
