/** Files of a space for programs in TypeScript: by path, each call whole. */
import type { Space } from '../../space.ts';
import { contentOf, exportFiles, fileAt, importFiles, placeAt, putFile, type Transferred, type TransferOptions } from './transfer.ts';
import { SpaceTree, type TreeLimits } from './tree.ts';
import type { NodeKind } from '../../runtime/wasi/tree.ts';

export interface FileEntry {
  readonly name: string;
  readonly kind: NodeKind;
  /** Bytes. */
  readonly size: number;
  /** Nanoseconds since 1970; 0 for what keeps no time. */
  readonly modified: bigint;
}

export class Files {
  readonly #tree: SpaceTree;

  /** Use `files`. */
  constructor(space: Space, limits: TreeLimits = {}) {
    this.#tree = new SpaceTree(space, limits);
  }

  /** What is in a file. Throws NameMissing, FileKind. */
  read(path: string): Uint8Array {
    const file = fileAt(this.#tree, path);
    const bytes = new Uint8Array(file.size());
    file.read(0, bytes);
    return bytes;
  }

  text(path: string): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.read(path));
  }

  /** Makes a file of that content, or gives one that is there another, in one transaction; directories above are made. */
  write(path: string, content: string | Uint8Array): void {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const { directory, name } = placeAt(this.#tree, path, true);
    putFile(this.#tree, directory, name, [bytes], { replace: true });
  }

  /** A piece at a time, each valid until the next. */
  pieces(path: string): Generator<Uint8Array> {
    return contentOf(fileAt(this.#tree, path));
  }

  /** What is in a directory, sorted by name. */
  list(path = '/'): FileEntry[] {
    const directory = this.#tree.open(path);
    return directory.entries().map(({ name, kind }) => {
      const { size = 0, modified = 0n } = directory.find(name)?.stat() ?? {};
      return { name, kind, size, modified };
    });
  }

  /** Copies a real directory into the space. Throws NameExists where something is in the way, unless `replace`. */
  import(directory: string, path: string, options: TransferOptions = {}): Transferred {
    return importFiles(this.#tree, directory, path, options);
  }

  /** Copies a directory of the space to a real one. */
  export(path: string, directory: string, options: TransferOptions = {}): Transferred {
    return exportFiles(this.#tree, path, directory, options);
  }
}

/** The files of a space. */
export function files(space: Space, limits: TreeLimits = {}): Files {
  return new Files(space, limits);
}
