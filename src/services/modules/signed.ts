/**
 * A module as it is signed and stored: an immutable object with the source, its signature, and a reference to the verifying key of who signed it.
 *
 *   signed:  "twizzler module\0"  format u32  language u32  name (u32 length, UTF-8)  source (u32 length, UTF-8)      little-endian
 */
import { TwzError } from '../../abi/errors.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { verifyingKey, type SigningKey } from '../../kernel/security/keys.ts';
import { bytes, link, oneOf, text, u32 } from '../../lib/fields.ts';
import { SIGNATURE_LENGTH } from '../../abi/security-format.ts';
import { struct } from '../../lib/struct.ts';

export const MODULE_FORMAT = 1;
const SOURCE_BYTES_MAX = 4 << 20;
const NAME = /^[\w.@/-]{1,128}$/;
const LANGUAGES = ['javascript', 'typescript'] as const;
export type ModuleLanguage = (typeof LANGUAGES)[number];

/** A module with the signature of whoever vouches for it. */
export interface SignedModule {
  /** For people, and for stacks of errors. */
  readonly name: string;
  readonly language: ModuleLanguage;
  readonly source: string;
  /** The verifying-key object of who signed it. */
  readonly key: ObjectId;
  readonly signature: Uint8Array;
}

export const ModuleRepr = struct('Module', {
  format: u32,
  name: text,
  language: oneOf(...LANGUAGES),
  source: text,
  key: link,
  signature: bytes,
});

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function messageOf({ name, language, source }: Pick<SignedModule, 'name' | 'language' | 'source'>): Uint8Array {
  const head = encoder.encode('twizzler module\0');
  const [named, written] = [encoder.encode(name), encoder.encode(source)];
  const message = new Uint8Array(head.length + 16 + named.length + written.length);
  const dv = new DataView(message.buffer);
  message.set(head, 0);
  let at = head.length;
  const word = (value: number): void => {
    dv.setUint32(at, value, true);
    at += 4;
  };
  word(MODULE_FORMAT);
  word(LANGUAGES.indexOf(language));
  word(named.length);
  message.set(named, at);
  at += named.length;
  word(written.length);
  message.set(written, at);
  return message;
}

/** Throws InvalidArgument. */
export function signModule(
  source: string,
  by: SigningKey,
  { name = 'module', language = 'typescript' }: { readonly name?: string; readonly language?: ModuleLanguage } = {},
): SignedModule {
  const written = encoder.encode(source);
  if (written.length > SOURCE_BYTES_MAX || decoder.decode(written) !== source)
    throw new TwzError('InvalidArgument', `a module's source is well-formed text of at most ${SOURCE_BYTES_MAX} bytes`);
  if (!NAME.test(name)) throw new TwzError('InvalidArgument', `"${name.slice(0, 200)}" cannot be the name of a module`, { name });
  if (!LANGUAGES.includes(language)) throw new TwzError('InvalidArgument', `a module is written in ${LANGUAGES.join(' or ')}`);
  return { name, language, source, key: by.id, signature: by.sign(messageOf({ name, language, source })) };
}

/** Throws ModuleForged. */
export function demandSigned(kernel: Kernel, module: SignedModule, what: string): void {
  const { name, language, key, signature } = module;
  const verifying = isId(key) ? verifyingKey(kernel, key) : undefined;
  if (verifying === undefined) throw new TwzError('ModuleForged', `${what} names ${String(key)}, which is no verifying key in the space`);
  const sound = NAME.test(name) && LANGUAGES.includes(language) && signature.length === SIGNATURE_LENGTH;
  if (!sound || !kernel.host.ed25519.verify(verifying, messageOf(module), signature))
    throw new TwzError('ModuleForged', `${what} is not signed by key ${key}`, { key });
}

/** Throws ModuleUntrusted, InvalidArgument. */
export function demandTrusted({ name, key }: SignedModule, trust: readonly ObjectId[]): void {
  for (const each of trust)
    if (!isId(each)) throw new TwzError('InvalidArgument', `"${String(each).slice(0, 200)}" is not the ID of a key`);
  if (!trust.includes(key))
    throw new TwzError('ModuleUntrusted', `module ${name} is signed by key ${key}, which the caller does not trust`, { name, key });
}
