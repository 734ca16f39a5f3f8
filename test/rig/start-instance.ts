/** Starts an instance, prints its process and stays: the worker that a test kills. */
import { LocalHost } from '../../src/hosts/local.js';
import { startInstance } from '../../src/instances/process.js';

const { place, start } = JSON.parse(process.argv[2] ?? '');
console.log(JSON.stringify(await startInstance({ host: new LocalHost(), ...place }, start)));
setInterval(() => {}, 60_000);
