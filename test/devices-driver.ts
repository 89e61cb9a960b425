/** A process that drives devices for its parent: `devices-driver.js DIRECTORY OPTIONS`, the options as JSON. Lines of JSON are its answers. */
import * as fs from 'node:fs';
import { open, startDevices } from '../src/index.ts';

const [directory = '', options = '{}'] = process.argv.slice(2);
const space = open(directory);
const devices = await startDevices(space, JSON.parse(options));
fs.writeSync(1, `${JSON.stringify(devices.names)}\n`);
process.stdin.on('data', () => {
  void devices.close().then(() => {
    space.close();
    process.stdin.destroy();
  });
});
