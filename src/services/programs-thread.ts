/** The thread of a compartment that has one of its own: see programs-remote.ts. */
import { chooseHost } from '../host/choose.ts';
import { Region } from '../host/futex.ts';
import type { Host } from '../host/host.ts';
import { startedWith } from '../host/programs.ts';
import { openRequests, type Responder } from '../lib/rings/requests.ts';
import { isTwzError } from '../abi/errors.ts';
import type { Compartment } from '../runtime/compartment.ts';
import { open } from '../space.ts';
import { programs } from './programs.ts';
import { CALL_RECORDS, decodeValues, encodeError, encodeValues, type RemoteStart } from './programs-remote.ts';

/** How long it sleeps before it lets the space see to what it has to, in milliseconds. */
const TURN_MS = 20;

/** Gives an answer, be it an error. */
function answer(compartment: Compartment, call: Uint8Array): Uint8Array {
  try {
    const [name, ...values] = decodeValues(call);
    return encodeValues([compartment.call(String(name), ...values.map((value) => value ?? 0))]);
  } catch (error) {
    return encodeError(error);
  }
}

async function serve(host: Host, responder: Responder<Uint8Array, Uint8Array>, reply: (call: Uint8Array) => Uint8Array): Promise<void> {
  for (;;) {
    let request;
    try {
      request = responder.receive({ timeout: TURN_MS });
    } catch (error) {
      if (!isTwzError(error, 'QueueTimedOut')) throw error;
      await new Promise<void>((resolve) => host.soon(resolve));
      continue;
    }
    if (request === undefined) return;
    responder.complete(request.id, reply(request.value));
  }
}

async function main(start: RemoteStart): Promise<void> {
  const host = chooseHost(() => undefined);
  const region = new Region(host.futex, new Uint8Array(start.words));
  const responder = openRequests(region, 0, CALL_RECORDS).responder();
  const space = open(start.directory, { create: false, host });
  try {
    const { module, code, name, limits } = start;
    const compartment = programs(space).start(module ?? code ?? '', { name, arguments: start.arguments, limits });
    await serve(host, responder, (call) => {
      space.refresh();
      return answer(compartment, call);
    });
    if (!compartment.closed) compartment.close();
  } catch (error) {
    // Whoever calls is told why there is nobody.
    await serve(host, responder, () => encodeError(error));
  } finally {
    responder.leave();
    space.close();
  }
}

await main(startedWith(undefined) as RemoteStart);
