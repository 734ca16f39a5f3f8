import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { addressRange, domainName, expected, filePath, image, name, wholeNumber } from '../values.js';

const releasesKept = wholeNumber(2, 1_000)
  .optional()
  .describe(`Releases kept for each component and environment. Default: ${defaults.releasesKept}`);

const processes = z.strictObject(
  {
    driver: z.literal('process').optional().describe("process: each is a process of the worker's machine. The default"),
    addresses: addressRange
      .optional()
      .describe(
        `A range within 127.0.0.0/8 (an address for each instance) or one address (a port for each). Default: ${defaults.addresses.address}/${defaults.addresses.prefixLength}`,
      ),
    directory: filePath.optional().describe(`Folder of the instances. Default: ${defaults.instancesDirectory}`),
    releasesKept,
  },
  expected('{ driver: process, addresses, directory, releasesKept }'),
);

const incus = z.strictObject(
  {
    driver: z.literal('incus').describe('incus: each is an instance of Incus.'),
    image: image.describe('Alias or fingerprint of the image they are made from: images:debian/13.'),
    domain: domainName
      .optional()
      .describe(
        'The edge finds an instance as <name>.<domain>. Only in multi-instance `addresses` may be left out too.',
      ),
    addresses: addressRange
      .optional()
      .describe(
        'In place of `domain`: the part of their subnet of which each instance gets an address: 10.0.20.128/25',
      ),
    profiles: z
      .array(name, expected("a list of Incus's profiles"))
      .min(1, 'expected at least one profile')
      .optional()
      .describe(
        "Incus's profiles that they get: root disk, limits, devices, and the network card that Bascule gives an address. Default: that of the edge where it is in an instance beside them, else [default]",
      ),
    project: name.optional().describe("Incus's project that they are in. Default: default"),
    remote: name
      .optional()
      .describe("Where Incus runs, as the worker's `incus remote list` has it. Default: on the machine of the worker"),
    releasesKept,
  },
  expected('{ driver: incus, image, domain, addresses, profiles, project, remote, releasesKept }'),
);

export const instances = z.discriminatedUnion(
  'driver',
  [processes, incus],
  expected('{ driver: process } or { driver: incus, image: images:debian/13 }'),
);
