/**
 * Certificates from Pebble as it comes (it waits before it looks at a challenge, and refuses one of twenty good nonces):
 * `bascule certs issue`, each installed and served by the edge at the end, beside dehydrated, which only writes files. One
 * after the other in each size, each with a Pebble of its own; both register their account first.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import Table from 'cli-table3';
import { execa } from 'execa';
import { startHttpsProject } from '../test/rig/https-project.js';
import { startNameServer } from '../test/rig/name-server.js';
import { startPebble } from '../test/rig/pebble.js';
import { freePort } from '../test/rig/ports.js';
import { timed } from './times.js';

const sizes = [1, 10, 50];
const address = '127.0.0.1';

interface Measured {
  readonly ms: number;
  readonly obtained: number;
}

const namesOf = (size: number): readonly string[] =>
  Array.from({ length: size }, (_, index) => `bench-${index + 1}.test`);

async function byBascule(names: readonly string[]): Promise<Measured> {
  const https = await startHttpsProject(
    names.map((name) => [name]),
    { asItComes: true },
  );
  const run = async (...args: readonly string[]) => {
    const { exitCode, stdout, stderr } = await https.project.bascule(...args);
    if (exitCode !== 0) throw new Error(`bascule ${args.join(' ')} exited with ${exitCode}: ${stdout}\n${stderr}`);
  };
  try {
    await https.project.startWorker();
    await run('apply', '--skip-certificates');
    const { ms } = await timed(() => run('certs', 'issue'));
    const served = await Promise.all(names.map(https.served));
    return { ms, obtained: served.filter((one) => one !== null).length };
  } finally {
    await https.stop();
  }
}

async function byDehydrated(names: readonly string[]): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-dehydrated-'));
  const challenges = join(folder, 'challenges');
  await mkdir(challenges);
  const port = await freePort();
  const server = createServer((asked, answer) => {
    readFile(join(challenges, basename(asked.url ?? ''))).then(
      (text) => answer.end(text),
      () => answer.writeHead(404).end(),
    );
  }).listen(port, address);
  const nameServer = `${address}:${await freePort()}`;
  const dns = await startNameServer(address, Number(nameServer.split(':')[1]));
  for (const name of names) dns.addresses.set(name, address);
  const pebble = await startPebble({ httpPort: port, nameServer, asItComes: true });
  await writeFile(join(folder, 'domains.txt'), names.map((name) => `${name}\n`).join(''));
  await writeFile(
    join(folder, 'config'),
    `CA="${pebble.directory}"\nCURL_OPTS="--cacert ${pebble.caFile}"\nBASEDIR="${folder}"\nWELLKNOWN="${challenges}"\nKEY_ALGO=prime256v1\n`,
  );
  const run = (...args: readonly string[]) =>
    execa('dehydrated', ['--config', join(folder, 'config'), ...args], { reject: false, timeout: 600_000 });
  try {
    const { ms } = await timed(async () => {
      // A refused nonce is an error to it: where that meets the account, it is asked again.
      while ((await run('--register', '--accept-terms')).exitCode !== 0);
      await run('--cron', '--keep-going');
    });
    const found = await readdir(join(folder, 'certs'), { recursive: true }).catch(() => []);
    return { ms, obtained: found.filter((file) => file.endsWith('/cert.pem')).length };
  } finally {
    await pebble.stop();
    await dns.stop();
    server.close();
    server.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  }
}

const table = new Table({
  head: ['certificates', 'bascule', 'served', 'dehydrated', 'obtained', 'dehydrated ÷ bascule'],
  style: { head: [], border: [] },
});
for (const size of sizes) {
  const names = namesOf(size);
  const own = await byBascule(names);
  const other = await byDehydrated(names);
  const seconds = ({ ms }: Measured) => `${(ms / 1_000).toFixed(1)} s`;
  table.push([
    ...[size, seconds(own), `${own.obtained} of ${size}`, seconds(other), `${other.obtained} of ${size}`],
    (other.ms / own.ms).toFixed(1),
  ]);
}
console.log(table.toString());
console.log(
  'Of dehydrated, what a refused nonce kept from it is not asked for again; bascule serves what it obtained.',
);
