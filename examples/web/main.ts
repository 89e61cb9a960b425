/**
 * A web server of devices: this process drives them, another one serves with nothing but memory. It is asked, and killed, and another one takes its
 * place. Argument: directory (default ./space).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { open, startDevices, type Space } from '../../src/index.ts';
import { Web, serve } from './web.ts';

const [directory = './space', part = 'drive'] = process.argv.slice(2);

/** Starts a server, and waits until it says where it listens. */
async function start(space: Space): Promise<{ child: ChildProcess; url: string }> {
  const web = space.names.get('/web', Web);
  web.port = 0;
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), directory, 'serve'], { stdio: 'ignore' });
  const words = space.object(web).sync();
  const index = space.object(web).rootOffset >> 2;
  while (web.port === 0) await words.waitAsync(index, 0, 1000);
  return { child, url: `http://127.0.0.1:${web.port}` };
}

async function ask(url: string): Promise<string> {
  const response = await fetch(url);
  return `${response.status} ${(await response.text()).trim()}`;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function drive(): Promise<void> {
  const space = open(directory);
  if (space.names.find('/web') === undefined) space.relaxed(() => space.names.set('/web', space.create(Web, {}, { kind: 'shared' })));
  const devices = await startDevices(space, { console: true, clock: true, timer: true, entropy: true, network: true });
  let { child, url } = await start(space);
  console.log(`asked for /: ${await ask(url)}`);
  const year = new Date().getUTCFullYear();
  console.log(`asked for /time: the year is ${(await ask(`${url}/time`)).includes(String(year)) ? 'right' : 'wrong'}`);
  console.log(`asked for /random twice: ${(await ask(`${url}/random`)) === (await ask(`${url}/random`)) ? 'the same' : 'two numbers'}`);
  console.log(`asked for /nothing: ${await ask(`${url}/nothing`)}`);
  const later = ask(`${url}/later`);
  console.log(`asked for /later: ${await later}`);
  await kill(child);
  ({ child, url } = await start(space));
  console.log(`killed; another one: ${await ask(url)}`);
  await kill(child);
  await devices.close();
  space.close();
}

if (part === 'serve') await serve(open(directory));
else await drive();
