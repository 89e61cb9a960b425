/** What the processes of the sharing tests have in common. */
import { orderedMap, struct, text, u32, vec } from '../src/index.ts';

export const Counter = struct('Counter', { n: u32, note: text });
export const Shelf = orderedMap(text, text);
export const Big = struct('Big', { data: vec(u32) });
