/** What a console is made of: streams of Node, said in a way that takes none of Node's types. */

interface Events {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

export interface InputStream extends Events {
  read(): unknown;
  pause(): unknown;
  /** Of a terminal. */
  setRawMode?(raw: boolean): unknown;
}

export interface OutputStream extends Events {
  readonly destroyed: boolean;
  /** Of a terminal. */
  readonly columns?: number;
  readonly rows?: number;
  /** False where it is to be waited for. */
  write(bytes: Uint8Array): boolean;
}

export interface ConsoleStreams {
  readonly input?: InputStream;
  readonly output?: OutputStream;
}
