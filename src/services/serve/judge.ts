/** Who may do what, as the local server judges it. */
import { TwzError } from '../../abi/errors.ts';
import { RIGHTS_ALL } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { decodeChain, type Statement } from '../../abi/security-format.ts';
import type { Credentials } from '../../host/linux/descriptors.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { ContextAuthority, securityOf } from '../../kernel/security/authority.ts';
import { judgedAs } from '../../kernel/security/records.ts';
import { grantedBy } from '../../kernel/security/rule.ts';
import { isRefusal, refusalError } from '../../kernel/security/statements.ts';

/** A client, as far as the server knows it. */
export interface Peer {
  /** What the system says of the process that connected. */
  readonly credentials: Credentials;
  /** The context that it has proved to be, by its key. */
  readonly context: ObjectId | undefined;
  /** What it showed, and the judge accepted. */
  readonly capabilities: readonly Uint8Array[];
}

/** What is asked about. */
export interface Judged {
  readonly id: ObjectId;
  /** Default rights: bits of RIGHT. */
  readonly rights: number;
}

export interface Judge {
  /** Rights to the object now: bits of RIGHT. Asked at each request, and before each change is shown. */
  rightsTo(target: Judged, peer: Peer): number;
  /** Throws what is wrong with a capability that a client shows. */
  accept(capability: Uint8Array, peer: Peer): void;
  /** Another number when somebody may have lost a right: whoever has an image is judged anew then. Without it, when the object changes. */
  readonly epoch?: number;
}

export interface DefaultRights {
  /** The user that serves: it has the default rights of each object. */
  readonly owner: number;
  /** What of the default rights other users have. */
  readonly others: number;
}

/**
 * Default rights by user; and, for who has proved to be a context, what that context holds and what was shown for it, through its masks. The
 * same rule as everywhere, but that default rights are those of the user.
 */
export class CapabilityJudge implements Judge {
  readonly #kernel: Kernel;
  readonly #defaults: DefaultRights;
  readonly #authorities = new Map<ObjectId, ContextAuthority>();
  /** Chains as they were read, by their bytes. */
  readonly #chains = new WeakMap<Uint8Array, readonly Statement[]>();

  constructor(kernel: Kernel, defaults: DefaultRights) {
    this.#kernel = kernel;
    this.#defaults = defaults;
  }

  get epoch(): number {
    let epoch = 0;
    for (const authority of this.#authorities.values()) epoch += authority.epoch;
    return epoch;
  }

  rightsTo({ id, rights }: Judged, { credentials: { uid }, context, capabilities }: Peer): number {
    const { owner, others } = this.#defaults;
    let given = rights & (uid === owner || uid === 0 ? RIGHTS_ALL : others);
    if (context === undefined) return given;
    const h = judgedAs(this.#kernel.handle(id));
    const [finding] = this.#authority(context)?.explain(h) ?? [];
    // A context that is not there any more, or cannot be read, gives nothing.
    if (finding?.valid !== true) return 0;
    for (const { verdict } of finding.items) if (!isRefusal(verdict) && verdict.gate === undefined) given |= verdict.rights;
    for (const each of capabilities) given |= this.#shown(each, h, context);
    return grantedBy(given, finding.globalMask, finding.mask);
  }

  #shown(capability: Uint8Array, h: Handle, context: ObjectId): number {
    const chain = this.#chainOf(capability);
    if (chain[0]?.target !== h.id) return 0;
    const verdict = securityOf(this.#kernel).judge.judge(chain, h, context);
    return isRefusal(verdict) || verdict.gate !== undefined ? 0 : verdict.rights;
  }

  #chainOf(capability: Uint8Array): readonly Statement[] {
    let chain = this.#chains.get(capability);
    if (chain === undefined) this.#chains.set(capability, (chain = decodeChain(capability)));
    return chain;
  }

  #authority(context: ObjectId): ContextAuthority | undefined {
    let authority = this.#authorities.get(context);
    if (authority === undefined && this.#kernel.has(context)) {
      if (this.#authorities.size >= AUTHORITIES_MAX) this.#authorities.clear();
      this.#authorities.set(context, (authority = new ContextAuthority(this.#kernel, [context])));
    }
    return authority;
  }

  accept(capability: Uint8Array, { context }: Peer): void {
    if (context === undefined)
      throw new TwzError('ServeUnproved', 'a capability is for a context: the client has to prove that it is that one');
    const chain = decodeChain(capability);
    const target = chain[0]?.target ?? context;
    if (!this.#kernel.has(target)) throw new TwzError('ObjectMissing', `object ${target} is not in the space`, { id: target });
    const h = this.#kernel.handle(target);
    h.reach();
    const verdict = securityOf(this.#kernel).judge.judge(chain, h, context);
    if (isRefusal(verdict)) throw refusalError(verdict, target);
  }
}

const AUTHORITIES_MAX = 1024;
