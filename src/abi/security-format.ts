/**
 * Keys, contexts, capabilities, delegations and revocations, byte for byte. docs/formats/security.md is the long form, with worked examples.
 *
 * Each is a record: the one block of a raw object, at the offset that META.root names. A statement (capability, delegation, revocation)
 * is also bytes by themselves, to be sent anywhere: who gets it can change nothing, because it is signed.
 *
 *   verifying key, 48          signing key, 64            context
 *   0  magic "TWK1"            0  magic "TWS1"            0  magic "TWX1"
 *   4  scheme (1 Ed25519)      4  scheme                  4  flags
 *   8  length (32)             8  length (32)             8  global mask
 *   12 zero                    12 zero                    12 number of masks
 *   16 key (32)                16 verifying key's ID (16) 16 number of items
 *                              32 seed (32)               20 bytes in use
 *                                                         24 bytes reserved
 *                                                         28 zero
 *                                                         32 masks, then items
 *
 *   capability, 160            delegation, 176            revocation, 128
 *   0  magic "TWC1"            0  magic "TWD1"            0  magic "TWR1"
 *   4  flags                   4  flags                   4  zero
 *   8  target (16)             8  target (16)             8  target (16)
 *   24 accessor (16)           24 accessor (16)           24 statement (16)
 *   40 rights                  40 rights                  40 time (u64, ms since 1970)
 *   44 gate: offset,           44 gate                    48 key's ID (16)
 *   48   length, alignment     56 expiry                  64 signature (64)
 *   56 expiry (u64, ms)        64 nonce (16)
 *   64 nonce (16)              80 key's ID (16)           mask, 24              item, 16 + statements
 *   80 key's ID (16)           96 parent (16)             0  target (16)        0  bytes
 *   96 signature (64)          112 signature (64)         16 rights let through 4  delegations in it
 *                                                         20 override           8  zero (8)
 *
 * Little-endian. A statement's name is fold(SHA-256(its bytes before the signature)). What is signed are those same bytes; the magic keeps
 * one kind from being taken for another. There is one encoding of each: whatever else is no statement (CapabilityMalformed).
 */
import { TwzError } from './errors.ts';
import { OBJECT_SIZE_MAX, RIGHT, RIGHTS_ALL } from './format.ts';
import { readId, writeId, type ObjectId } from './id.ts';

export const SCHEME_ED25519 = 1;

export const VERIFYING_KEY = { magic: 0x314b5754, scheme: 4, length: 8, key: 16, keyLength: 32, size: 48 } as const;
export const SIGNING_KEY = { magic: 0x31535754, scheme: 4, length: 8, verifying: 16, seed: 32, seedLength: 32, size: 64 } as const;

export const CONTEXT = {
  magic: 0x31585754,
  flags: 4,
  globalMask: 8,
  masks: 12,
  items: 16,
  used: 20,
  reserved: 24,
  header: 32,
} as const;
export const CONTEXT_FLAG = {
  /** Once attached it stays so, and while it is active nothing else becomes active. */
  undetachable: 1,
} as const;
export const MASK = { size: 24, target: 0, rights: 16, override: 20 } as const;
export const ITEM = { header: 16, bytes: 0, delegations: 4 } as const;
export const MASKS_MAX = 4096;
export const ITEMS_MAX = 4096;

export const STATEMENT = {
  flags: 4,
  target: 8,
  accessor: 24,
  rights: 40,
  gate: 44,
  expiry: 56,
  nonce: 64,
  key: 80,
  parent: 96,
} as const;
export const CAPABILITY = { magic: 0x31435754, signature: 96, size: 160 } as const;
export const DELEGATION = { magic: 0x31445754, signature: 112, size: 176 } as const;
export const REVOCATION = { magic: 0x31525754, target: 8, statement: 24, time: 40, key: 48, signature: 64, size: 128 } as const;
export const SIGNATURE_LENGTH = 64;
export const NONCE_LENGTH = 16;

export const STATEMENT_FLAG = {
  /** The rights are for entering through the gate alone. */
  gated: 1,
  /** The accessor may hand it on. */
  delegable: 2,
} as const;

/** Delegations in one chain. */
export const DELEGATIONS_MAX = 8;

/** Which offsets may be entered: `offset + k * align`, below `offset + length`. */
export interface Gate {
  readonly offset: number;
  readonly length: number;
  readonly align: number;
}

/** What a capability and a delegation say. */
export interface Grant {
  readonly target: ObjectId;
  /** The context that may use it. */
  readonly accessor: ObjectId;
  /** Bits of RIGHT. */
  readonly rights: number;
  /** Entering here is all that it allows; undefined: no such limit. */
  readonly gate: Gate | undefined;
  /** Milliseconds since 1970; Infinity: it does not expire. */
  readonly expires: number;
  readonly delegable: boolean;
  readonly nonce: Uint8Array;
  /** The verifying-key object by which its signature is judged. */
  readonly key: ObjectId;
}

export interface Statement extends Grant {
  /** The statement that is handed on; undefined in a capability. */
  readonly parent: ObjectId | undefined;
  readonly bytes: Uint8Array;
}

export interface Revocation {
  readonly target: ObjectId;
  /** Name of the capability or delegation. */
  readonly statement: ObjectId;
  /** Milliseconds since 1970, as its maker's clock said. */
  readonly time: number;
  readonly key: ObjectId;
  readonly bytes: Uint8Array;
}

function malformed(what: string, reason: string): TwzError {
  return new TwzError('CapabilityMalformed', `${what}: ${reason}`);
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Throws InvalidArgument unless these are rights that can be given, at least one. */
export function demandRights(rights: number): void {
  if (!Number.isInteger(rights) || rights < 1 || rights > RIGHTS_ALL)
    throw new TwzError('InvalidArgument', `${rights} are no rights: bits of ${RIGHTS_ALL}, at least one`, { rights });
}

function gateProblem({ offset, length, align }: Gate, rights: number): string | undefined {
  for (const value of [offset, length, align]) if (!Number.isInteger(value) || value < 0) return `${value} in its gate is no size`;
  if (length < 1 || align < 1) return 'its gate lets nothing in';
  if (offset + length > OBJECT_SIZE_MAX) return 'its gate reaches past the largest object';
  if (rights !== RIGHT.execute) return 'a gate restricts entering: it goes with the right to execute alone';
  return undefined;
}

function signedBytes(grant: Grant, parent: ObjectId | undefined): Uint8Array {
  const bytes = new Uint8Array(parent === undefined ? CAPABILITY.size : DELEGATION.size);
  const dv = viewOf(bytes);
  const { gate } = grant;
  dv.setUint32(0, parent === undefined ? CAPABILITY.magic : DELEGATION.magic, true);
  dv.setUint32(STATEMENT.flags, (gate === undefined ? 0 : STATEMENT_FLAG.gated) | (grant.delegable ? STATEMENT_FLAG.delegable : 0), true);
  writeId(bytes, STATEMENT.target, grant.target);
  writeId(bytes, STATEMENT.accessor, grant.accessor);
  dv.setUint32(STATEMENT.rights, grant.rights, true);
  if (gate !== undefined) {
    dv.setUint32(STATEMENT.gate, gate.offset, true);
    dv.setUint32(STATEMENT.gate + 4, gate.length, true);
    dv.setUint32(STATEMENT.gate + 8, gate.align, true);
  }
  if (grant.expires !== Infinity) setTime(dv, STATEMENT.expiry, grant.expires);
  bytes.set(grant.nonce, STATEMENT.nonce);
  writeId(bytes, STATEMENT.key, grant.key);
  if (parent !== undefined) writeId(bytes, STATEMENT.parent, parent);
  return bytes;
}

function setTime(dv: DataView, at: number, ms: number): void {
  dv.setUint32(at, ms % 2 ** 32, true);
  dv.setUint32(at + 4, Math.floor(ms / 2 ** 32), true);
}

function timeAt(dv: DataView, at: number): number {
  return dv.getUint32(at, true) + dv.getUint32(at + 4, true) * 2 ** 32;
}

/** A capability, or with `parent` a delegation. `sign` makes the signature of what it is given. Throws InvalidArgument. */
export function encodeStatement(grant: Grant, parent: ObjectId | undefined, sign: (message: Uint8Array) => Uint8Array): Statement {
  const { rights, gate, expires, nonce } = grant;
  demandRights(rights);
  const problem = gate === undefined ? undefined : gateProblem(gate, rights);
  if (problem !== undefined) throw new TwzError('InvalidArgument', problem);
  if (expires !== Infinity && !(Number.isSafeInteger(expires) && expires > 0))
    throw new TwzError('InvalidArgument', `${expires} is no time: milliseconds since 1970, or Infinity`, { expires });
  if (nonce.length !== NONCE_LENGTH) throw new TwzError('InvalidArgument', `a nonce has ${NONCE_LENGTH} bytes`);
  const bytes = signedBytes(grant, parent);
  const at = signatureAt(bytes);
  bytes.set(sign(bytes.slice(0, at)), at);
  return { ...grant, parent, bytes };
}

/** Where the signature of a statement begins: it is of what lies before. */
export function signatureAt(bytes: Uint8Array): number {
  return bytes.length - SIGNATURE_LENGTH;
}

/** Reads a capability or a delegation; its signature is not looked at. Throws CapabilityMalformed. */
export function decodeStatement(source: Uint8Array): Statement {
  const bytes = source.slice();
  const dv = viewOf(bytes);
  const magic = bytes.length < 4 ? 0 : dv.getUint32(0, true);
  const what = magic === CAPABILITY.magic ? 'capability' : magic === DELEGATION.magic ? 'delegation' : undefined;
  if (what === undefined) throw malformed('statement', 'it begins neither as a capability nor as a delegation');
  const expected = what === 'capability' ? CAPABILITY.size : DELEGATION.size;
  if (bytes.length !== expected) throw malformed(what, `it has ${bytes.length} bytes; expected ${expected}`);
  const flags = dv.getUint32(STATEMENT.flags, true);
  if ((flags & ~(STATEMENT_FLAG.gated | STATEMENT_FLAG.delegable)) !== 0) throw malformed(what, `its flags are ${flags}`);
  const rights = dv.getUint32(STATEMENT.rights, true);
  if (rights === 0 || rights > RIGHTS_ALL) throw malformed(what, `its rights are ${rights}`);
  const raw = {
    offset: dv.getUint32(STATEMENT.gate, true),
    length: dv.getUint32(STATEMENT.gate + 4, true),
    align: dv.getUint32(STATEMENT.gate + 8, true),
  };
  const gated = (flags & STATEMENT_FLAG.gated) !== 0;
  const problem = gated
    ? gateProblem(raw, rights)
    : (raw.offset | raw.length | raw.align) !== 0
      ? 'it has a gate, and says that it has none'
      : undefined;
  if (problem !== undefined) throw malformed(what, problem);
  const expires = timeAt(dv, STATEMENT.expiry);
  if (!Number.isSafeInteger(expires)) throw malformed(what, `it expires at ${expires}`);
  return {
    target: readId(bytes, STATEMENT.target),
    accessor: readId(bytes, STATEMENT.accessor),
    rights,
    gate: gated ? raw : undefined,
    expires: expires === 0 ? Infinity : expires,
    delegable: (flags & STATEMENT_FLAG.delegable) !== 0,
    nonce: bytes.slice(STATEMENT.nonce, STATEMENT.nonce + NONCE_LENGTH),
    key: readId(bytes, STATEMENT.key),
    parent: what === 'capability' ? undefined : readId(bytes, STATEMENT.parent),
    bytes,
  };
}

/** A capability followed by the delegations by which it was handed on, in order. */
export function encodeChain(chain: readonly Statement[]): Uint8Array {
  const bytes = new Uint8Array(chain.reduce((sum, statement) => sum + statement.bytes.length, 0));
  let at = 0;
  for (const statement of chain) {
    bytes.set(statement.bytes, at);
    at += statement.bytes.length;
  }
  return bytes;
}

/** Reads what `encodeChain` gave. Throws CapabilityMalformed, DelegationDepth. */
export function decodeChain(bytes: Uint8Array): readonly Statement[] {
  const chain = [decodeStatement(bytes.subarray(0, CAPABILITY.size))];
  if (chain[0]?.parent !== undefined) throw malformed('chain', 'it does not begin with a capability');
  const rest = bytes.length - CAPABILITY.size;
  if (rest % DELEGATION.size !== 0) throw malformed('chain', `${rest} bytes follow the capability: not a multiple of ${DELEGATION.size}`);
  if (rest / DELEGATION.size > DELEGATIONS_MAX) throw tooDeep(rest / DELEGATION.size);
  for (let at: number = CAPABILITY.size; at < bytes.length; at += DELEGATION.size) {
    const next = decodeStatement(bytes.subarray(at, at + DELEGATION.size));
    if (next.parent === undefined) throw malformed('chain', 'a capability follows another');
    chain.push(next);
  }
  return chain;
}

export function tooDeep(depth: number): TwzError {
  return new TwzError('DelegationDepth', `${depth} delegations follow each other; the limit is ${DELEGATIONS_MAX}`, { depth });
}

export function encodeRevocation(revocation: Omit<Revocation, 'bytes'>, sign: (message: Uint8Array) => Uint8Array): Revocation {
  const bytes = new Uint8Array(REVOCATION.size);
  const dv = viewOf(bytes);
  dv.setUint32(0, REVOCATION.magic, true);
  writeId(bytes, REVOCATION.target, revocation.target);
  writeId(bytes, REVOCATION.statement, revocation.statement);
  setTime(dv, REVOCATION.time, revocation.time);
  writeId(bytes, REVOCATION.key, revocation.key);
  bytes.set(sign(bytes.slice(0, REVOCATION.signature)), REVOCATION.signature);
  return { ...revocation, bytes };
}

/** Its signature is not looked at. Throws CapabilityMalformed. */
export function decodeRevocation(source: Uint8Array): Revocation {
  const bytes = source.slice();
  const dv = viewOf(bytes);
  if (bytes.length !== REVOCATION.size) throw malformed('revocation', `it has ${bytes.length} bytes; expected ${REVOCATION.size}`);
  if (dv.getUint32(0, true) !== REVOCATION.magic || dv.getUint32(4, true) !== 0) throw malformed('revocation', 'it does not begin as one');
  const time = timeAt(dv, REVOCATION.time);
  if (!Number.isSafeInteger(time)) throw malformed('revocation', `its time is ${time}`);
  return {
    target: readId(bytes, REVOCATION.target),
    statement: readId(bytes, REVOCATION.statement),
    time,
    key: readId(bytes, REVOCATION.key),
    bytes,
  };
}

// --- gates ----------------------------------------------------------------------------------------------------------------------

/** May an entry at this offset be used? */
export function admits({ offset, length, align }: Gate, entry: number): boolean {
  return entry >= offset && entry < offset + length && (entry - offset) % align === 0;
}

/** Does `inner` admit nothing that `outer` does not? */
export function isNarrower(inner: Gate, outer: Gate): boolean {
  if (!admits(outer, inner.offset)) return false;
  // Of a gate that admits one entry, alignment and length say nothing more.
  if (inner.length <= inner.align) return true;
  const last = inner.offset + Math.floor((inner.length - 1) / inner.align) * inner.align;
  return last < outer.offset + outer.length && inner.align % outer.align === 0;
}

// --- keys -----------------------------------------------------------------------------------------------------------------------

export function encodeVerifyingKey(key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(VERIFYING_KEY.size);
  const dv = viewOf(bytes);
  dv.setUint32(0, VERIFYING_KEY.magic, true);
  dv.setUint32(VERIFYING_KEY.scheme, SCHEME_ED25519, true);
  dv.setUint32(VERIFYING_KEY.length, VERIFYING_KEY.keyLength, true);
  bytes.set(key, VERIFYING_KEY.key);
  return bytes;
}

/** Undefined where the bytes are no verifying key. */
export function decodeVerifyingKey(bytes: Uint8Array): Uint8Array | undefined {
  if (!beginsKey(bytes, VERIFYING_KEY.magic, VERIFYING_KEY.size, VERIFYING_KEY.keyLength)) return undefined;
  return bytes.slice(VERIFYING_KEY.key, VERIFYING_KEY.key + VERIFYING_KEY.keyLength);
}

function beginsKey(bytes: Uint8Array, magic: number, size: number, length: number): boolean {
  if (bytes.length !== size) return false;
  const dv = viewOf(bytes);
  return (
    dv.getUint32(0, true) === magic &&
    dv.getUint32(4, true) === SCHEME_ED25519 &&
    dv.getUint32(8, true) === length &&
    dv.getUint32(12, true) === 0
  );
}

export function encodeSigningKey(verifying: ObjectId, seed: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SIGNING_KEY.size);
  const dv = viewOf(bytes);
  dv.setUint32(0, SIGNING_KEY.magic, true);
  dv.setUint32(SIGNING_KEY.scheme, SCHEME_ED25519, true);
  dv.setUint32(SIGNING_KEY.length, SIGNING_KEY.seedLength, true);
  writeId(bytes, SIGNING_KEY.verifying, verifying);
  bytes.set(seed, SIGNING_KEY.seed);
  return bytes;
}

export function decodeSigningKey(bytes: Uint8Array): { readonly verifying: ObjectId; readonly seed: Uint8Array } | undefined {
  if (!beginsKey(bytes, SIGNING_KEY.magic, SIGNING_KEY.size, SIGNING_KEY.seedLength)) return undefined;
  return {
    verifying: readId(bytes, SIGNING_KEY.verifying),
    seed: bytes.slice(SIGNING_KEY.seed, SIGNING_KEY.seed + SIGNING_KEY.seedLength),
  };
}

// --- contexts -------------------------------------------------------------------------------------------------------------------

/** What a context lets through of the rights to one object. */
export interface Mask {
  readonly target: ObjectId;
  readonly rights: number;
  /** Rights that the global mask does not take away here. */
  readonly override: number;
}

export interface ContextImage {
  readonly flags: number;
  readonly globalMask: number;
  /** By target, in the order of their IDs. */
  readonly masks: readonly Mask[];
  /** Chains as `encodeChain` gives them, in the order in which they came. */
  readonly items: readonly Uint8Array[];
}

/** The record of a context, in a block of at least `reserved` bytes. Throws ContextFull. */
export function encodeContext({ flags, globalMask, masks, items }: ContextImage, reserved: number): Uint8Array {
  if (masks.length > MASKS_MAX) throw new TwzError('ContextFull', `${masks.length} masks; the limit is ${MASKS_MAX}`);
  if (items.length > ITEMS_MAX) throw new TwzError('ContextFull', `${items.length} capabilities; the limit is ${ITEMS_MAX}`);
  const used = items.reduce((sum, item) => sum + ITEM.header + item.length, CONTEXT.header + masks.length * MASK.size);
  const bytes = new Uint8Array(used);
  const dv = viewOf(bytes);
  dv.setUint32(0, CONTEXT.magic, true);
  dv.setUint32(CONTEXT.flags, flags, true);
  dv.setUint32(CONTEXT.globalMask, globalMask, true);
  dv.setUint32(CONTEXT.masks, masks.length, true);
  dv.setUint32(CONTEXT.items, items.length, true);
  dv.setUint32(CONTEXT.used, used, true);
  dv.setUint32(CONTEXT.reserved, Math.max(used, reserved), true);
  let at: number = CONTEXT.header;
  for (const mask of [...masks].sort((a, b) => (a.target < b.target ? -1 : 1))) {
    writeId(bytes, at + MASK.target, mask.target);
    dv.setUint32(at + MASK.rights, mask.rights, true);
    dv.setUint32(at + MASK.override, mask.override, true);
    at += MASK.size;
  }
  for (const item of items) {
    dv.setUint32(at + ITEM.bytes, item.length, true);
    dv.setUint32(at + ITEM.delegations, delegationsIn(item), true);
    bytes.set(item, at + ITEM.header);
    at += ITEM.header + item.length;
  }
  return bytes;
}

/** Reads the record of a context, of `used` bytes. Says what is wrong with it where it is none. */
export function decodeContext(source: Uint8Array): ContextImage | string {
  const bytes = source.slice();
  const dv = viewOf(bytes);
  if (bytes.length < CONTEXT.header || dv.getUint32(0, true) !== CONTEXT.magic) return 'it does not begin as a context';
  const flags = dv.getUint32(CONTEXT.flags, true);
  const globalMask = dv.getUint32(CONTEXT.globalMask, true);
  const maskCount = dv.getUint32(CONTEXT.masks, true);
  const itemCount = dv.getUint32(CONTEXT.items, true);
  if ((flags & ~CONTEXT_FLAG.undetachable) !== 0 || globalMask > RIGHTS_ALL) return `its flags are ${flags}, its mask ${globalMask}`;
  if (maskCount > MASKS_MAX || itemCount > ITEMS_MAX) return `it has ${maskCount} masks and ${itemCount} items`;
  if (dv.getUint32(CONTEXT.used, true) !== bytes.length) return 'its length is not what it says';
  let at: number = CONTEXT.header;
  if (at + maskCount * MASK.size > bytes.length) return 'its masks run past its end';
  const masks: Mask[] = [];
  let before: ObjectId | undefined;
  for (let i = 0; i < maskCount; i++, at += MASK.size) {
    const target = readId(bytes, at);
    const mask = { target, rights: dv.getUint32(at + MASK.rights, true), override: dv.getUint32(at + MASK.override, true) };
    if (mask.rights > RIGHTS_ALL || mask.override > RIGHTS_ALL || (before !== undefined && target <= before))
      return `its mask ${i} is none`;
    before = target;
    masks.push(mask);
  }
  const items: Uint8Array[] = [];
  for (let i = 0; i < itemCount; i++) {
    const length = at + ITEM.header > bytes.length ? -1 : dv.getUint32(at + ITEM.bytes, true);
    const delegations = length < 0 ? 0 : dv.getUint32(at + ITEM.delegations, true);
    if (delegations > DELEGATIONS_MAX || length !== CAPABILITY.size + delegations * DELEGATION.size) return `its item ${i} is none`;
    if (at + ITEM.header + length > bytes.length) return `its item ${i} runs past its end`;
    items.push(bytes.slice(at + ITEM.header, at + ITEM.header + length));
    at += ITEM.header + length;
  }
  return at === bytes.length ? { flags, globalMask, masks, items } : 'more follows its items';
}

/** How many delegations a chain has, by its length. */
export function delegationsIn(item: Uint8Array): number {
  return (item.length - CAPABILITY.size) / DELEGATION.size;
}

/** The target of an item, without reading all of it. */
export function itemTarget(item: Uint8Array): ObjectId {
  return readId(item, STATEMENT.target);
}

/** Rights in words: "read and write", "none". */
export function rightsInWords(rights: number): string {
  const words = Object.entries(RIGHT)
    .filter(([, bit]) => (rights & bit) !== 0)
    .map(([name]) => name);
  return words.length === 0 ? 'none' : words.length === 1 ? `${words[0]}` : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
