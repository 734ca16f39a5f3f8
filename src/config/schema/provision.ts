import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { bridgeAddress, bridgeName, expected, image, listenAddress, name, packageName, yesOrNo } from '../values.js';

export const provision = z.strictObject(
  {
    image: image
      .optional()
      .describe(
        `Alias or fingerprint of the image that the edge's instance is made from. Default: \`instances.image\`, else ${defaults.provision.image}`,
      ),
    storage: name
      .optional()
      .describe(`Incus's storage pool; made as a folder where there is none. Default: ${defaults.provision.storage}`),
    network: bridgeName
      .optional()
      .describe(`Incus's bridge; made where there is none. Default: ${defaults.provision.network}`),
    subnet: bridgeAddress
      .optional()
      .describe('Address of the bridge with its network, where it is made. Default: a network that Incus finds free'),
    profile: name
      .optional()
      .describe(
        `Incus's profile with that pool and that bridge; made where there is none. Default: ${defaults.provision.profile}`,
      ),
    listen: listenAddress
      .optional()
      .describe(
        `Address of the machine whose ports lead to the edge. "*": each of them, and the edge sees none of its visitors' addresses. Default: ${defaults.provision.listen}`,
      ),
    packages: z
      .array(packageName, expected('packages such as [curl, vim-tiny]'))
      .optional()
      .describe("Packages of the distribution that the edge's instance has besides haproxy. Default: none"),
    unattendedUpgrades: yesOrNo
      .optional()
      .describe("Whether the edge's instance installs its distribution's security updates by itself. Default: false"),
  },
  expected('{ image, storage, network, subnet, profile, listen, packages, unattendedUpgrades }'),
);
