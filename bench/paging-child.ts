/** The source of `bench paging`, in a thread of its own: object files in shared memory, and zeros for objects that it does not know. */
import { Worker, isMainThread, parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { servePages, type PageSourceEnd } from '../src/host/pages.ts';

interface SourceData {
  readonly end: PageSourceEnd;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export async function startSource(end: PageSourceEnd, files: ReadonlyMap<string, Uint8Array> = new Map()): Promise<Worker> {
  const data: SourceData = { end, files };
  const worker = new Worker(new URL(import.meta.url), { workerData: { pagingBench: data }, transferList: [end.port as MessagePort] });
  await new Promise((resolve) => worker.once('message', resolve));
  return worker;
}

if (!isMainThread && workerData !== null && 'pagingBench' in workerData) {
  const { end, files }: SourceData = workerData.pagingBench;
  servePages(end, ({ object, offset, length }) => files.get(object)?.slice(offset, offset + length) ?? new Uint8Array(length));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  parentPort?.postMessage('ready');
}
