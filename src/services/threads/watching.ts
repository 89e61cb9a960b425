/** Looking after threads for sleepers of plain `threadSync`: by a thread of this process, started with the first that is asked for. */
import { startServant, type Servant } from '../../host/programs.ts';
import type { ControlPlace } from './control.ts';

let servant: Servant | undefined;

/** From now on this process sees when the thread dies, even while all its other threads block. */
export function watch(place: ControlPlace): void {
  servant ??= startServant(new URL(import.meta.url.endsWith('.ts') ? './watcher.ts' : './watcher.js', import.meta.url), 'twizzler watcher');
  servant.tell(place);
}
