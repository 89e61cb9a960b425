/** Windows for programs, used again and again: a new one costs more than one that is emptied. */
import { PAGE } from '../abi/format.ts';
import { TwzError } from '../abi/errors.ts';
import type { Host, Window } from '../host/host.ts';
import { MEMORY_SIZE, STOP_PAGE } from './layout.ts';

export interface ProgramWindow {
  readonly host: Host;
  readonly window: Window;
  /** Bytes of heap that can be used. */
  heap: number;
  /** It was given back. */
  given: boolean;
}

/** As many are kept. */
const KEPT = 64;
const free = new WeakMap<Host, Window[]>();

/** A window with a heap of zeros and no right to anything else, but to load from the stop page. */
export function takeWindow(host: Host, heap: number): ProgramWindow {
  if (host.isolation === undefined) throw new TwzError('NotSupported', `programs need the Linux host; this is the ${host.name} one`);
  const window = free.get(host)?.pop() ?? fresh(host);
  window.protect(0, heap, 'readWrite');
  return { host, window, heap, given: false };
}

function fresh(host: Host): Window {
  const window = host.openWindow();
  window.protect(0, MEMORY_SIZE, 'none');
  window.protect(STOP_PAGE, PAGE, 'read');
  return window;
}

/** All that was mapped in it must be gone already. `whole`: nobody uses it any more; else it is left to those who do. */
export function giveWindow(used: ProgramWindow, whole: boolean): void {
  if (used.given) return;
  used.given = true;
  if (!whole) return;
  const { host, window, heap } = used;
  window.clear(0, heap, false);
  window.protect(0, heap, 'none');
  let list = free.get(host);
  if (list === undefined) {
    list = [];
    free.set(host, list);
  }
  if (list.length < KEPT) list.push(window);
  else window.close();
}
