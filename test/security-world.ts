/** What the tests of security share: a space with keys, contexts and a sealed object, and capabilities that are wrong in one way each. */
import type { ObjectId } from '../src/abi/id.ts';
import { decodeStatement, encodeChain, encodeStatement, type Grant, type Statement } from '../src/abi/security-format.ts';
import { link, objectOf, ref, struct, text, u32, type Capability, type Infer, type SigningKey, type Space } from '../src/index.ts';
import { ContextAuthority, securityOf } from '../src/kernel/security/authority.ts';
import { changeContext } from '../src/kernel/security/contexts.ts';

export const Secret = struct('Secret', {
  n: u32,
  name: text,
  seen: link,
  get next() {
    return ref(Secret);
  },
});
export type Secret = Infer<typeof Secret>;

/** A party: a context and the private key that belongs to it. */
export interface Party {
  readonly key: SigningKey;
  readonly context: ObjectId;
}

export interface World {
  /** Opened without contexts. */
  readonly space: Space;
  /** The key of `secret`. */
  readonly issuer: SigningKey;
  readonly secret: ObjectId;
  readonly alice: Party;
  readonly bob: Party;
  readonly carol: Party;
}

export function party(space: Space): Party {
  const key = space.security.createKey();
  return { key, context: space.security.createContext({ key: key.id }) };
}

/** An object that nobody may touch by default. */
export function sealed(space: Space, key: SigningKey, rights = 0): ObjectId {
  return space.relaxed(() => objectOf(space.create(Secret, { n: 7, name: 'treasure' }, { key: key.id, rights })).id);
}

export function worldOf(space: Space): World {
  const issuer = space.security.createKey();
  return { space, issuer, secret: sealed(space, issuer), alice: party(space), bob: party(space), carol: party(space) };
}

/** A statement as told, whatever the interface would say to that. */
export function signed(
  space: Space,
  by: SigningKey,
  parent: Statement | undefined,
  grant: Partial<Grant> & Pick<Grant, 'target' | 'accessor'>,
): Statement {
  const { judge } = securityOf(space.kernel);
  const nonce = space.kernel.random(16).slice();
  const whole = { rights: 1, gate: undefined, expires: Infinity, delegable: false, nonce, key: by.id, ...grant };
  return encodeStatement(whole, parent === undefined ? undefined : judge.nameOf(parent), (message) => by.sign(message));
}

/** Puts bytes into a context that `insert` would refuse. */
export function smuggle(space: Space, context: ObjectId, chain: readonly Statement[] | Uint8Array): void {
  const bytes = chain instanceof Uint8Array ? chain : encodeChain(chain);
  space.relaxed(() => {
    changeContext(space.kernel.handle(context), (image) => ({ ...image, items: [...image.items, bytes] }));
    securityOf(space.kernel).changed(context);
  });
}

/** Rights that a context alone gives. */
export function rightsIn(space: Space, context: ObjectId, target: ObjectId, entry?: number): number {
  return new ContextAuthority(space.kernel, [context]).rightsTo(space.kernel.handle(target), 7, entry);
}

/** The same capability with one bit of one statement turned over. */
export function flipped(capability: Capability, at: number, bit: number): Uint8Array {
  const bytes = capability.bytes();
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  return bytes;
}

export { decodeStatement };
