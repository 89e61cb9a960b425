/** The thread that looks after threads: it maps their control objects for itself, so that it needs nobody's space. */
import { chooseHost } from '../../host/choose.ts';
import { whenTold } from '../../host/programs.ts';
import { SLICE_MS } from '../../lib/sync/waiting.ts';
import { mapControl, type Control, type ControlPlace } from './control.ts';

const host = chooseHost(() => undefined);
const window = host.openWindow();
const watched = new Map<number, { readonly control: Control; readonly size: number }>();
/** Places that are free again, by size. */
const free = new Map<number, number[]>();
let end = 0;

whenTold((what) => {
  const place = what as ControlPlace;
  // Its file is gone: it ended and was released.
  if (!host.exists(place.path)) return;
  const at = free.get(place.size)?.pop() ?? end;
  if (at === end) end += place.size;
  watched.set(at, { control: mapControl(host, place, window, at), size: place.size });
});

function look(): void {
  for (const [at, { control, size }] of watched) {
    if (!control.look()) continue;
    watched.delete(at);
    free.set(size, [...(free.get(size) ?? []), at]);
  }
  host.timer(SLICE_MS, look);
}
look();
