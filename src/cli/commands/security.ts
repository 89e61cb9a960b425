/** Commands about security: keys, contexts, and the capabilities in them. */
import type { Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import { rightsInWords, type Statement } from '../../abi/security-format.ts';
import { textOfTime } from '../../host/node-values.ts';
import { writePrivateFile } from '../../host/private-file.ts';
import { Capability, type Explanation, type Finding, type Gate, type SigningKey } from '../../services/security.ts';
import type { Space } from '../../space.ts';
import { securityOf } from '../../kernel/security/authority.ts';
import { verifyingKey } from '../../kernel/security/keys.ts';
import { rightsText } from '../../services/show.ts';
import { EXIT, UsageError } from '../failure.ts';
import { out, pairs, plural, table } from '../output.ts';
import type { Ending } from '../program.ts';
import { common, findTarget, theHost, withSpace, type Common } from '../space.ts';

const RIGHTS = 'RIGHTS are letters of rwx.';

export function addSecurityCommands(program: Command, ending: Ending): void {
  const key = program.command('key').description('keys that sign capabilities: new, show, store');
  common(key.command('new <file>').description('make a pair of keys; the private one goes to FILE, in PEM, for its owner alone'))
    .option('-n, --name <path>', 'give the verifying key a name')
    .action((file: string, options: KeyFlags) => withSpace(options, (space) => newKey(space, file, options)));
  common(key.command('show <target>').description('what is in a key object; never the private key')).action(
    (target: string, options: Common) => withSpace(options, (space) => showKey(space, target, options)),
  );
  common(key.command('store <file>').description('put the private key of FILE into an object without default rights'))
    .option('-r, --reader <context>', 'a context that may read it (again for more)', several, [])
    .option('-n, --name <path>', 'give the object a name')
    .action((file: string, options: StoreFlags) => withSpace(options, (space) => storeKey(space, file, options)));

  const ctx = program.command('ctx').description('security contexts: new, show, mask, remove');
  common(ctx.command('new').description('make a context'))
    .option('-k, --key <target>', 'the verifying key of its owner')
    .option('-m, --mask <rights>', `what it lets through at most. ${RIGHTS}`, 'rwx')
    .option('-u, --undetachable', 'once attached it stays so')
    .option('-n, --name <path>', 'give it a name')
    .action((options: ContextFlags) => withSpace(options, (space) => newContext(space, options)));
  common(ctx.command('show <context>').description('its capabilities, whether they are good, and its masks')).action(
    (target: string, options: Common) => withSpace(options, (space) => showContext(space, target, options)),
  );
  common(ctx.command('mask <context> <rights> [target]').description(`limit what it lets through, for one object or for all. ${RIGHTS}`))
    .option('-o, --override <rights>', 'rights to the target that the mask for all does not take away', '-')
    .option('-b, --by <key>', "the context's private key: a file, or an object")
    .action((context: string, rights: string, target: string | undefined, options: MaskFlags) =>
      withSpace(options, (space) => mask(space, context, rights, target, options)),
    );
  common(ctx.command('remove <context> <capability>').description('take a capability out of a context: it stays good'))
    .option('-b, --by <key>', "the context's private key: a file, or an object")
    .action((context: string, name: string, options: ByFlags) => withSpace(options, (space) => remove(space, context, name, options)));

  const cap = program.command('cap').description('capabilities: grant, delegate, insert, revoke, explain');
  const giving = (command: Command): Command =>
    common(command)
      .requiredOption('-b, --by <key>', 'the private key that signs: a file, or an object')
      .option('-g, --gate <gate>', 'entering at offset+k*align below offset+length is all: offset,length,align')
      .option('-e, --expires <when>', 'a date, or from now: 90s, 15m, 12h, 30d')
      .option('-d, --delegable', 'may be handed on')
      .option('-f, --file <file>', 'write it to FILE, and put it into no context');
  giving(cap.command('grant <target> <context> <rights>').description(`give a context rights to an object. ${RIGHTS}`)).action(
    (target: string, context: string, rights: string, options: GrantFlags) =>
      withSpace(options, (space) => grant(space, target, context, rights, options)),
  );
  giving(
    cap.command('delegate <context> <capability> <to> [rights]').description(`hand on what a context holds, or less. ${RIGHTS}`),
  ).action((context: string, name: string, to: string, rights: string | undefined, options: GrantFlags) =>
    withSpace(options, (space) => delegate(space, { context, name, to, rights }, options)),
  );
  common(cap.command('insert <file>').description('put the capability in FILE into the context that it is for')).action(
    (file: string, options: Common) =>
      withSpace(options, (space) => {
        const capability = Capability.from(contentOf(file));
        space.security.insert(capability);
        tell(space, capability, 'inserted', options);
      }),
  );
  common(cap.command('revoke <context> <capability>').description('end a capability, and all that was handed on from it, for ever'))
    .requiredOption('-b, --by <key>', 'a private key that signed it, or what it was handed on from')
    .action((context: string, name: string, options: GrantFlags) => withSpace(options, (space) => revoke(space, context, name, options)));
  common(
    cap
      .command('explain <target> [rights]')
      .description('why contexts (--context) have those rights to an object, or not; exit code 1 if not'),
  ).action((target: string, rights: string | undefined, options: Common) =>
    withSpace(options, (space) => explain(space, target, rights ?? 'r', options, ending)),
  );

  for (const group of [key, ctx, cap]) group.action(() => out.write(group.helpInformation()));
}

interface KeyFlags extends Common {
  readonly name?: string;
}

interface StoreFlags extends KeyFlags {
  readonly reader: readonly string[];
}

interface ContextFlags extends KeyFlags {
  readonly key?: string;
  readonly mask: string;
  readonly undetachable?: boolean;
}

interface ByFlags extends Common {
  readonly by?: string;
}

interface MaskFlags extends ByFlags {
  readonly override: string;
}

interface GrantFlags extends Common {
  readonly by: string;
  readonly gate?: string;
  readonly expires?: string;
  readonly delegable?: boolean;
  readonly file?: string;
}

// --- reading the line -------------------------------------------------------------------------------------------------------

function several(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

const LETTERS: Readonly<Record<string, number>> = { r: 1, w: 2, x: 4, '-': 0 };

function rightsFrom(text: string): number {
  let rights = 0;
  for (const letter of text) {
    const bit = LETTERS[letter];
    if (bit === undefined) throw new UsageError(`"${text}" are no rights: letters of rwx, or - for none`);
    rights |= bit;
  }
  return rights;
}

function gateFrom(text: string | undefined): Gate | undefined {
  if (text === undefined) return undefined;
  const [offset, length, align, more] = text.split(',').map(Number);
  if (offset === undefined || length === undefined || more !== undefined || ![offset, length, align ?? 1].every(Number.isSafeInteger))
    throw new UsageError(`"${text}" is no gate: offset,length,align`);
  return { offset, length, align: align ?? 1 };
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function timeFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const span = /^(\d+)([smhd])$/.exec(text);
  const time = span === null ? Date.parse(text) : theHost().time() + Number(span[1]) * (UNITS[span[2] ?? ''] ?? 0);
  if (Number.isNaN(time)) throw new UsageError(`"${text}" is neither a date nor a time from now (90s, 15m, 12h, 30d)`);
  return time;
}

function contentOf(file: string): Uint8Array {
  const bytes = new Uint8Array(1 << 16);
  return bytes.slice(0, theHost().readFile(file, bytes));
}

/** A private key: a file in PEM, or an object that may be read. */
function keyBy(space: Space, by: string): SigningKey {
  if (!by.startsWith('/') || theHost().exists(by)) {
    if (theHost().exists(by)) return space.security.importKey(new TextDecoder().decode(contentOf(by)));
    if (!/^[0-9a-f]{4,32}$/i.test(by)) throw new TwzError('FileMissing', `there is no file ${by}`, { file: by });
  }
  return space.security.openKey(findTarget(space, by).id);
}

function capabilityIn(space: Space, context: ObjectId, name: string): Capability {
  const digits = name.toLowerCase();
  const found = space.security.context(context).capabilities.filter((each) => nameOf(space, each.statement).startsWith(digits));
  const [only] = found;
  if (only === undefined || digits.length < 4)
    throw new UsageError(`context ${context} has no capability whose name begins with "${name}" (four digits or more)`);
  if (found.length > 1) throw new UsageError(`${found.length} capabilities have names that begin with ${digits}`);
  return only;
}

function nameOf(space: Space, statement: Statement): ObjectId {
  return securityOf(space.kernel).judge.nameOf(statement);
}

function nameIt(space: Space, id: ObjectId, path: string | undefined): void {
  if (path !== undefined) space.relaxed(() => space.names.set(path, space.object(id)));
}

// --- keys -------------------------------------------------------------------------------------------------------------------

function newKey(space: Space, file: string, options: KeyFlags): void {
  const key = space.security.createKey();
  writePrivateFile(file, key.toPem());
  nameIt(space, key.id, options.name);
  if (options.json === true) out.json({ key: key.id, file });
  else out.line(`made key ${key.id}; the private one is in ${file}`);
}

function showKey(space: Space, target: string, options: Common): void {
  const { id, kind } = findTarget(space, target);
  const bytes = verifyingKey(space.kernel, id);
  // Whoever may read a private key learns whose it is, and no more.
  const facts =
    bytes === undefined ? { id, what: 'private key', of: space.security.openKey(id).id } : { id, what: 'verifying key', kind, key: bytes };
  if (options.json === true) out.json(facts);
  else
    pairs(
      out,
      Object.entries(facts).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value]),
    );
}

function storeKey(space: Space, file: string, options: StoreFlags): void {
  const key = keyBy(space, file);
  const id = space.security.storeKey(
    key,
    options.reader.map((reader) => findTarget(space, reader).id),
  );
  nameIt(space, id, options.name);
  if (options.json === true) out.json({ object: id, key: key.id });
  else out.line(`stored the private key of ${key.id} in ${id}, for ${plural(options.reader.length, 'context')}`);
}

// --- contexts ---------------------------------------------------------------------------------------------------------------

function newContext(space: Space, options: ContextFlags): void {
  const key = options.key === undefined ? {} : { key: findTarget(space, options.key).id };
  const id = space.security.createContext({ ...key, globalMask: rightsFrom(options.mask), undetachable: options.undetachable ?? false });
  nameIt(space, id, options.name);
  if (options.json === true) out.json({ context: id });
  else out.line(`made context ${id}`);
}

function showContext(space: Space, target: string, options: Common): void {
  const facts = space.security.context(findTarget(space, target).id);
  const capabilities = facts.capabilities.map((capability) => ({ ...row(space, capability), state: stateOf(space, capability) }));
  if (options.json === true) {
    out.json({ ...facts, capabilities });
    return;
  }
  pairs(out, [
    ['context', facts.id],
    ['key', facts.key ?? 'none'],
    ['mask', rightsText(facts.globalMask)],
    ['undetachable', facts.undetachable ? 'yes' : 'no'],
  ]);
  if (facts.masks.length > 0) {
    out.line();
    table(
      out,
      [{ head: 'MASK OF' }, { head: 'RIGHTS' }, { head: 'OVERRIDE' }],
      facts.masks.map((each) => [each.target, rightsText(each.rights), rightsText(each.override)]),
    );
  }
  if (capabilities.length === 0) return;
  out.line();
  const columns = ['CAPABILITY', 'TARGET', 'RIGHTS', 'GATE', 'EXPIRES', 'HANDED ON', 'STATE'].map((head) => ({ head }));
  const rows = capabilities.map(({ name, target: of, rights, gate, expires, depth, delegable, state }) => [
    name,
    of,
    rights,
    gate,
    expires,
    `${depth}${delegable ? ', may be' : ''}`,
    out.paint(state === 'good' ? 'green' : 'red', state),
  ]);
  table(out, columns, rows);
}

function row(space: Space, capability: Capability) {
  const { target, rights, gate, expires, depth, delegable } = capability;
  return {
    name: nameOf(space, capability.statement),
    target,
    rights: rightsText(rights),
    gate: gate === undefined ? '' : `${gate.offset},${gate.length},${gate.align}`,
    expires: expires === Infinity ? 'never' : textOfTime(expires),
    depth,
    delegable,
  };
}

function stateOf(space: Space, capability: Capability): string {
  try {
    space.security.verify(capability);
    return 'good';
  } catch (error) {
    if (error instanceof TwzError) return error.name;
    throw error;
  }
}

function mask(space: Space, context: string, rights: string, target: string | undefined, options: MaskFlags): void {
  const { id } = findTarget(space, context);
  const by = options.by === undefined ? undefined : keyBy(space, options.by);
  if (target === undefined) space.security.setGlobalMask(id, rightsFrom(rights), by);
  else space.security.setMask(id, findTarget(space, target).id, { rights: rightsFrom(rights), override: rightsFrom(options.override) }, by);
  if (options.json === true) out.json({ context: id, rights: rightsText(rightsFrom(rights)) });
  else out.line(`context ${id} lets through ${rightsInWords(rightsFrom(rights))}${target === undefined ? '' : ` for ${target}`}`);
}

function remove(space: Space, context: string, name: string, options: ByFlags): void {
  const { id } = findTarget(space, context);
  const capability = capabilityIn(space, id, name);
  space.security.remove(id, capability, options.by === undefined ? undefined : keyBy(space, options.by));
  tell(space, capability, 'removed', options);
}

// --- capabilities -----------------------------------------------------------------------------------------------------------

function tell(space: Space, capability: Capability, what: string, options: Common): void {
  const name = nameOf(space, capability.statement);
  if (options.json === true) out.json({ [what]: name, target: capability.target, context: capability.accessor });
  else out.line(`${what} ${name}: ${rightsInWords(capability.rights)} of ${capability.target} for context ${capability.accessor}`);
}

function given(options: GrantFlags) {
  const gate = gateFrom(options.gate);
  const expires = timeFrom(options.expires);
  return {
    ...(gate === undefined ? {} : { gate }),
    ...(expires === undefined ? {} : { expires }),
    delegable: options.delegable ?? false,
    insert: options.file === undefined,
  };
}

function hand(space: Space, capability: Capability, what: string, options: GrantFlags): void {
  if (options.file !== undefined) {
    const file = theHost().open(options.file, 'create');
    theHost().truncate(file, 0);
    theHost().write(file, capability.bytes(), 0);
    theHost().close(file);
  }
  tell(space, capability, what, options);
}

function grant(space: Space, target: string, context: string, rights: string, options: GrantFlags): void {
  const [of, to] = [findTarget(space, target).id, isId(context) ? context : findTarget(space, context).id];
  const by = keyBy(space, options.by);
  hand(space, space.security.grant({ target: of, to, rights: rightsFrom(rights), by, ...given(options) }), 'granted', options);
}

interface Handing {
  readonly context: string;
  readonly name: string;
  readonly to: string;
  readonly rights: string | undefined;
}

function delegate(space: Space, { context, name, to, rights }: Handing, options: GrantFlags): void {
  const capability = capabilityIn(space, findTarget(space, context).id, name);
  const narrowed = rights === undefined ? {} : { rights: rightsFrom(rights) };
  const by = keyBy(space, options.by);
  const receiver = isId(to) ? to : findTarget(space, to).id;
  hand(space, space.security.delegate(capability, { to: receiver, by, ...narrowed, ...given(options) }), 'delegated', options);
}

function revoke(space: Space, context: string, name: string, options: GrantFlags): void {
  const capability = capabilityIn(space, findTarget(space, context).id, name);
  space.security.revoke(capability, keyBy(space, options.by));
  tell(space, capability, 'revoked', options);
}

// --- why --------------------------------------------------------------------------------------------------------------------

function explain(space: Space, target: string, rights: string, options: Common, ending: Ending): void {
  const contexts = space.security.contexts;
  const explanation = space.security.explain(findTarget(space, target).id, rightsFrom(rights), contexts);
  if (explanation.missing !== 0) ending.code = EXIT.findings;
  if (options.json === true) {
    out.json({
      ...explanation,
      contexts: explanation.contexts.map(({ items, ...finding }) => ({ ...finding, items: items.map((item) => said(space, item)) })),
    });
    return;
  }
  printExplanation(space, explanation);
}

function said(space: Space, { item, verdict }: Finding['items'][number]) {
  const name = nameIn(space, item);
  if ('reason' in verdict) return { capability: name, good: false, reason: verdict.reason, message: verdict.message };
  const until = verdict.until === Infinity ? undefined : textOfTime(verdict.until);
  return { capability: name, good: true, rights: rightsText(verdict.rights), gate: verdict.gate, until };
}

function nameIn(space: Space, item: Uint8Array): string {
  try {
    return nameOf(space, Capability.from(item).statement);
  } catch (error) {
    if (error instanceof TwzError) return 'malformed';
    throw error;
  }
}

function printExplanation(space: Space, { target, key, defaults, want, missing, contexts }: Explanation): void {
  out.line(`object ${target}: by default ${rightsInWords(defaults)}; ${key === undefined ? 'no key' : `key ${key}`}`);
  for (const finding of contexts) {
    out.line(`context ${finding.context}${finding.active ? ' (active)' : ''}${finding.undetachable ? ' (undetachable)' : ''}`);
    if (!finding.valid) out.line('  cannot be read, and gives nothing');
    for (const each of finding.items) {
      const fact = said(space, each);
      const until = fact.until === undefined ? '' : `, until ${fact.until}`;
      const gate = fact.gate === undefined ? '' : `, entering at ${fact.gate.offset},${fact.gate.length},${fact.gate.align}`;
      if (fact.good) out.line(`  ${out.paint('green', '+')} ${fact.capability}  ${fact.rights}${gate}${until}`);
      else out.line(`  ${out.paint('red', '-')} ${fact.capability}  ${fact.reason}: ${fact.message}`);
    }
    const { mask: own, globalMask } = finding;
    const masks =
      own === undefined
        ? rightsText(globalMask)
        : `${rightsText(own.rights)}, override ${rightsText(own.override)}, all ${rightsText(globalMask)}`;
    out.line(`  given ${rightsText(finding.given)}, mask ${masks}: ${rightsInWords(finding.granted)}`);
  }
  if (contexts.length === 0) out.line('no context: the default rights decide');
  if (missing === 0) out.line(`${out.paint('green', 'yes')}: ${rightsInWords(want)}`);
  else out.line(`${out.paint('red', 'no')}: missing ${rightsInWords(missing)}`);
}
