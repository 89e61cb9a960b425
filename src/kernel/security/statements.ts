/**
 * Are statements true? One place decides, and gives the reason where they are not.
 *
 * A chain is a capability and the delegations by which it was handed on. It is good for (target, accessor) if
 *  1. the capability is for the target and signed by the key that the target's header names,
 *  2. each delegation continues the statement before it, which allows that, is signed by the key that the header of that statement's
 *     accessor names, and gives no more: rights, gate and time within those before,
 *  3. the last statement's accessor is the accessor,
 *  4. none of them has expired or was revoked, by the one who signed it or one who signed before it.
 * Every step is judged anew at each judgement but for the arithmetic of signatures: bytes that were signed stay signed.
 */
import { TwzError, type ErrorName } from '../../abi/errors.ts';
import { KIND, RIGHT } from '../../abi/format.ts';
import { foldId, writeId, type ObjectId } from '../../abi/id.ts';
import {
  DELEGATIONS_MAX,
  REVOCATION,
  decodeRevocation,
  encodeRevocation,
  isNarrower,
  signatureAt,
  type Gate,
  type Grant,
  type Revocation,
  type Statement,
} from '../../abi/security-format.ts';
import { deriveId } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import type { Handle } from '../object.ts';
import { verifyingKey, type SigningKey } from './keys.ts';
import { createRecord, keyOf, recordOf } from './records.ts';

/** What a chain that is good gives. */
export interface Accepted {
  readonly rights: number;
  readonly gate: Gate | undefined;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** Why a chain gives nothing. */
export interface Refusal {
  readonly reason: ErrorName;
  readonly message: string;
}

export function isRefusal(verdict: Accepted | Refusal): verdict is Refusal {
  return 'reason' in verdict;
}

export function refusalError({ reason, message }: Refusal, target: ObjectId): TwzError {
  return new TwzError(reason, message, { id: target });
}

const KNOWN_MAX = 65536;

/** Judges the statements of one space. */
export class Judge {
  readonly #kernel: Kernel;
  /** Signatures that were found to be right, by what was signed. */
  readonly #signed = new Map<ObjectId, Uint8Array>();
  readonly #keys = new Map<ObjectId, Uint8Array>();
  readonly #nonce = new Uint8Array(16);
  readonly #key = new Uint8Array(16);

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** What names a statement: in delegations that continue it, and in revocations. */
  nameOf(statement: Pick<Statement, 'bytes'>): ObjectId {
    const { bytes } = statement;
    return foldId(this.#kernel.host.sha256(bytes.subarray(0, signatureAt(bytes))));
  }

  judge(chain: readonly Statement[], target: Handle, accessor: ObjectId): Accepted | Refusal {
    const [first] = chain;
    const last = chain[chain.length - 1];
    if (first === undefined || last === undefined || first.parent !== undefined)
      return { reason: 'CapabilityMalformed', message: 'a chain begins with a capability' };
    if (chain.length - 1 > DELEGATIONS_MAX)
      return { reason: 'DelegationDepth', message: `${chain.length - 1} delegations follow each other; the limit is ${DELEGATIONS_MAX}` };
    if (last.accessor !== accessor)
      return { reason: 'CapabilityAccessor', message: `it was given to context ${last.accessor}, not to ${accessor}` };
    const signers: ObjectId[] = [];
    let until = Infinity;
    let before: Statement | undefined;
    let beforeName: ObjectId | undefined;
    for (const statement of chain) {
      const name = this.nameOf(statement);
      const refusal = this.#link(statement, name, target, before, beforeName, signers);
      if (refusal !== undefined) return refusal;
      until = Math.min(until, statement.expires);
      before = statement;
      beforeName = name;
    }
    return { rights: last.rights, gate: last.gate, until };
  }

  #link(
    statement: Statement,
    name: ObjectId,
    target: Handle,
    before: Statement | undefined,
    beforeName: ObjectId | undefined,
    signers: ObjectId[],
  ): Refusal | undefined {
    if (statement.target !== target.id)
      return { reason: 'CapabilityTarget', message: `it is for object ${statement.target}, not for ${target.id}` };
    if (before !== undefined) {
      const refusal = handsOn(statement, before, beforeName);
      if (refusal !== undefined) return refusal;
    }
    const refusal = this.#signedRightly(statement, name, before === undefined ? target : before.accessor);
    if (refusal !== undefined) return refusal;
    if (statement.expires <= this.#kernel.host.time())
      return { reason: 'CapabilityExpired', message: `its time was over at ${statement.expires} ms since 1970` };
    signers.push(statement.key);
    for (const key of signers)
      if (this.#isRevoked(target.id, name, key)) return { reason: 'CapabilityRevoked', message: `statement ${name} was revoked` };
    return undefined;
  }

  /** Is it signed by the key that the header of `signer` names? */
  #signedRightly(statement: Statement, name: ObjectId, signer: Handle | ObjectId): Refusal | undefined {
    const kernel = this.#kernel;
    const id = typeof signer === 'string' ? signer : signer.id;
    if (typeof signer === 'string' && !kernel.has(signer))
      return { reason: 'CapabilityKey', message: `context ${id}, which handed it on, is not there` };
    const key = keyOf(typeof signer === 'string' ? kernel.handle(signer) : signer);
    if (key === undefined) return { reason: 'CapabilityKey', message: `object ${id} has no key: nothing can be signed for it` };
    if (statement.key !== key) return { reason: 'CapabilityKey', message: `it is signed by key ${statement.key}; object ${id} has ${key}` };
    if (this.isSigned(statement.bytes, name, key)) return undefined;
    return this.#keys.has(key)
      ? { reason: 'CapabilityForged', message: `the signature is not that of key ${key}` }
      : { reason: 'KeyInvalid', message: `object ${key} is no verifying key, or is not there` };
  }

  /** Do the bytes end with the key's signature of what lies before it? `name`: of these bytes. */
  isSigned(bytes: Uint8Array, name: ObjectId, key: ObjectId): boolean {
    const at = signatureAt(bytes);
    const known = this.#signed.get(name);
    if (known !== undefined && isAt(known, bytes, at)) return true;
    let verifying = this.#keys.get(key);
    if (verifying === undefined) {
      verifying = verifyingKey(this.#kernel, key);
      if (verifying === undefined) return false;
      if (this.#keys.size >= KNOWN_MAX) this.#keys.clear();
      this.#keys.set(key, verifying);
    }
    const signature = bytes.slice(at);
    if (!this.#kernel.host.ed25519.verify(verifying, bytes.subarray(0, at), signature)) return false;
    if (this.#signed.size >= KNOWN_MAX) this.#signed.clear();
    this.#signed.set(name, signature);
    return true;
  }

  // --- revocations --------------------------------------------------------------------------------------------------------

  /** A revocation is an object whose ID follows from what it revokes and who does, so it is found without a list, in every space. */
  revocationId(statement: ObjectId, key: ObjectId): ObjectId {
    writeId(this.#nonce, 0, statement);
    writeId(this.#key, 0, key);
    return deriveId(this.#kernel.host, this.#nonce, this.#key, RIGHT.read, KIND.owned);
  }

  #isRevoked(target: ObjectId, statement: ObjectId, key: ObjectId): boolean {
    const id = this.revocationId(statement, key);
    if (!this.#kernel.has(id)) return false;
    const record = recordOf(this.#kernel.handle(id), REVOCATION.size);
    if (record === undefined) return false;
    try {
      const revocation = decodeRevocation(record);
      const right = revocation.statement === statement && revocation.key === key && revocation.target === target;
      return right && this.isSigned(record, this.nameOf(revocation), key);
    } catch {
      // Whoever put something else there under this ID did not sign it.
      return false;
    }
  }

  /** Enters a revocation. Returns false where it is there already. Inside a transaction. Throws CapabilityForged, KeyInvalid. */
  revoke(revocation: Revocation): boolean {
    const { statement, key, bytes } = revocation;
    const kernel = this.#kernel;
    if (!this.isSigned(bytes, this.nameOf(revocation), key)) {
      if (!this.#keys.has(key)) throw new TwzError('KeyInvalid', `object ${key} is no verifying key, or is not there`, { key });
      throw new TwzError('CapabilityForged', `the revocation of ${statement} is not signed by key ${key}`, { statement, key });
    }
    if (this.#isRevoked(revocation.target, statement, key)) return false;
    const id = this.revocationId(statement, key);
    if (kernel.has(id)) throw new TwzError('ObjectExists', `object ${id} is where the revocation belongs, and is none`, { id });
    const nonce = new Uint8Array(16);
    writeId(nonce, 0, statement);
    createRecord(kernel, { rights: RIGHT.read, key }, bytes, bytes.length, nonce);
    return true;
  }

  /** What `key` signs to revoke a statement, its own or one that continues its own. */
  signRevocation(statement: Statement, key: SigningKey): Revocation {
    const revocation = { target: statement.target, statement: this.nameOf(statement), time: this.#kernel.host.time(), key: key.id };
    return encodeRevocation(revocation, (message) => key.sign(message));
  }
}

/** Does `statement` give no more than `before`, which allows it to be handed on? */
function handsOn(statement: Statement, before: Statement, beforeName: ObjectId | undefined): Refusal | undefined {
  if (statement.parent === undefined || statement.parent !== beforeName)
    return { reason: 'DelegationBroken', message: `it hands on ${statement.parent ?? 'nothing'}; before it stands ${beforeName}` };
  if (!before.delegable) return { reason: 'DelegationForbidden', message: `context ${before.accessor} may not hand it on` };
  const wider = widening(statement, before);
  return wider === undefined ? undefined : { reason: 'CapabilityWidened', message: wider };
}

/** In what `grant` gives more than `from`; undefined where it does not. */
export function widening(grant: Pick<Grant, 'rights' | 'gate' | 'expires'>, from: Grant): string | undefined {
  if ((grant.rights & ~from.rights) !== 0) return `it gives rights ${grant.rights} of ${from.rights}`;
  if (from.gate !== undefined && (grant.gate === undefined || !isNarrower(grant.gate, from.gate))) return 'its gate is wider';
  if (grant.expires > from.expires) return `it lasts until ${grant.expires}, longer than ${from.expires}`;
  return undefined;
}

function isAt(signature: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < signature.length; i++) if (signature[i] !== bytes[at + i]) return false;
  return true;
}
