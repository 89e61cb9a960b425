/**
 * What the members of a crowd do to a space, and what must come of it. Everything that member `p` does in its step `k` follows from the
 * seed, `p` and `k`, so whoever knows how many steps it made knows what the space must hold of it.
 */
import { f64, hashMap, orderedMap, ref, struct, text, u32, vec, type Infer, type Space } from '../index.ts';

export const Account = struct('Account', { balance: f64, steps: f64 });
export const Note = struct('Note', { owner: u32, step: u32, text });
export const Board = orderedMap(text, text);
export const Notes = hashMap(u32, ref(Note));
/** `touched`: accounts that its steps changed, one after the other. */
export const Journal = struct('Journal', { step: u32, touched: f64, notes: Notes, path: vec(u32) });

export const ACCOUNTS = 24;
const KEYS = 60;
const NOTES = 16;
const BALANCE = 1000;

/** A number below 2^32 that follows from the seed, the member, the step and `n`. */
function draw(seed: number, member: number, step: number, n: number): number {
  let x =
    Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^
    Math.imul(member + 1, 0xc2b2ae35) ^
    Math.imul(step, 0x27d4eb2f) ^
    Math.imul(n + 1, 0x165667b1);
  for (let i = 0; i < 2; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
    x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  }
  return (x ^ (x >>> 15)) >>> 0;
}

export type Action =
  | { readonly kind: 'transfer'; readonly accounts: readonly number[]; readonly amount: number }
  | { readonly kind: 'post'; readonly key: string; readonly text: string }
  | { readonly kind: 'unpost'; readonly key: string }
  | { readonly kind: 'note'; readonly place: number; readonly text: string }
  | { readonly kind: 'walk'; readonly count: number };

export function actionOf(seed: number, member: number, step: number): Action {
  const what = draw(seed, member, step, 0) % 100;
  const a = draw(seed, member, step, 1);
  const b = draw(seed, member, step, 2);
  if (what < 55) {
    const count = 2 + (b % 3);
    const accounts = new Set<number>();
    for (let n = 3; accounts.size < count; n++) accounts.add(draw(seed, member, step, n) % ACCOUNTS);
    return { kind: 'transfer', accounts: [...accounts], amount: a % 100 };
  }
  const key = `${String(a % KEYS).padStart(3, '0')} of ${member}`;
  if (what < 75) return { kind: 'post', key, text: `${step} ${'x'.repeat(b % 400)}` };
  if (what < 85) return { kind: 'unpost', key };
  if (what < 95) return { kind: 'note', place: a % NOTES, text: `${step} ${'n'.repeat(b % 3000)}` };
  return { kind: 'walk', count: 1 + (a % 200) };
}

export interface Town {
  readonly accounts: readonly Infer<typeof Account>[];
  readonly board: ReturnType<typeof boardOf>;
  readonly journals: readonly Infer<typeof Journal>[];
}

function boardOf(space: Space) {
  return space.names.get('/board', Board);
}

/** Makes what the members share. */
export function found(space: Space, members: number): void {
  space.relaxed(() => {
    for (let i = 0; i < ACCOUNTS; i++) space.names.set(`/account ${i}`, space.create(Account, { balance: BALANCE }));
    space.names.set('/board', space.create(Board));
    for (let i = 0; i < members; i++) space.names.set(`/journal ${i}`, space.create(Journal, {}));
  });
}

export function visit(space: Space, members: number): Town {
  return {
    accounts: Array.from({ length: ACCOUNTS }, (_, i) => space.names.get(`/account ${i}`, Account)),
    board: boardOf(space),
    journals: Array.from({ length: members }, (_, i) => space.names.get(`/journal ${i}`, Journal)),
  };
}

/** One step of a member. Inside a transaction. */
export function act(space: Space, town: Town, member: number, step: number, action: Action): void {
  const journal = town.journals[member] as Infer<typeof Journal>;
  if (journal.step !== step - 1) throw new Error(`member ${member} is at step ${journal.step}, not ${step - 1}`);
  switch (action.kind) {
    case 'transfer': {
      const [first, ...rest] = action.accounts.map((i) => town.accounts[i] as Infer<typeof Account>);
      if (first === undefined) throw new Error('nothing to transfer from');
      for (const to of rest) {
        first.balance -= action.amount;
        to.balance += action.amount;
        to.steps++;
      }
      first.steps++;
      journal.touched += action.accounts.length;
      break;
    }
    case 'post':
      town.board.set(action.key, action.text);
      break;
    case 'unpost':
      town.board.delete(action.key);
      break;
    case 'note': {
      const old = journal.notes.get(action.place);
      journal.notes.set(action.place, space.create(Note, { owner: member, step, text: action.text }));
      if (old !== undefined && old !== null) space.delete(old);
      break;
    }
    case 'walk':
      for (let i = 0; i < action.count; i++) journal.path.push(step + i);
  }
  journal.step = step;
}

/** What the space must hold of one member after so many steps. */
export class Expected {
  readonly #seed: number;
  readonly #member: number;
  step = 0;
  touched = 0;
  readonly posts = new Map<string, string>();
  readonly notes = new Map<number, { readonly step: number; readonly text: string }>();
  walked = 0;

  constructor(seed: number, member: number) {
    this.#seed = seed;
    this.#member = member;
  }

  advance(to: number): void {
    while (this.step < to) {
      const step = ++this.step;
      const action = actionOf(this.#seed, this.#member, step);
      if (action.kind === 'transfer') this.touched += action.accounts.length;
      else if (action.kind === 'post') this.posts.set(action.key, action.text);
      else if (action.kind === 'unpost') this.posts.delete(action.key);
      else if (action.kind === 'note') this.notes.set(action.place, { step, text: action.text });
      else this.walked += action.count;
    }
  }
}

/** What a state of the town has wrong that must hold at every moment: transfers are whole. */
export function torn(town: Town): string | undefined {
  let balance = 0;
  let steps = 0;
  for (const account of town.accounts) {
    balance += account.balance;
    steps += account.steps;
  }
  let touched = 0;
  for (const journal of town.journals) touched += journal.touched;
  if (balance !== ACCOUNTS * BALANCE) return `the accounts hold ${balance}, not ${ACCOUNTS * BALANCE}`;
  return steps === touched ? undefined : `the accounts were changed ${steps} times, the journals say ${touched}`;
}

/** What the town has wrong of one member. */
export function wrong(town: Town, member: number, expected: Expected): string | undefined {
  const journal = town.journals[member] as Infer<typeof Journal>;
  if (journal.step < expected.step) return `step ${expected.step} was acknowledged, and ${journal.step} is the last there is`;
  expected.advance(journal.step);
  if (journal.touched !== expected.touched) return `changed ${journal.touched} accounts, not ${expected.touched}`;
  if (journal.path.length !== expected.walked) return `walked ${journal.path.length}, not ${expected.walked}`;
  if (journal.notes.size !== expected.notes.size) return `has ${journal.notes.size} notes, not ${expected.notes.size}`;
  for (const [place, note] of journal.notes) {
    const should = expected.notes.get(place);
    if (should === undefined || note === null || note.owner !== member || note.step !== should.step || note.text !== should.text)
      return `note ${place} is of step ${note?.step}, not ${should?.step}`;
  }
  let posts = 0;
  for (const [key, post] of town.board.entries()) {
    if (!key.endsWith(` of ${member}`)) continue;
    posts++;
    if (post !== expected.posts.get(key)) return `the board says "${post.slice(0, 20)}" under "${key}"`;
  }
  return posts === expected.posts.size ? undefined : `the board has ${posts} of it, not ${expected.posts.size}`;
}
