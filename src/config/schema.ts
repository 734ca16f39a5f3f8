import * as z from 'zod';
import { artifacts } from './schema/artifacts.js';
import { component } from './schema/component.js';
import { edge } from './schema/edge.js';
import { environment } from './schema/environment.js';
import { instances } from './schema/instances.js';
import { notify } from './schema/notify.js';
import { provision } from './schema/provision.js';
import { certificates, external } from './schema/sites.js';
import { expected, name, namePattern } from './values.js';

/**
 * bascule.yaml, field by field, as it is written: nothing is converted and no default is filled in here (convert.ts does).
 * What one field alone can't tell is in checks.ts, the names of environments, components and variables among it.
 */

export const environmentsExpectation = 'environments such as { prod: { hosts: [www.example.org] } }';

const named = z.string().meta({ pattern: namePattern.source });

export const configurationSchema = z
  .strictObject(
    {
      version: z.literal(1, expected('1')).describe('Version of this format: 1.'),
      project: name.describe('Name of the project: begins workflow ids, the task queue and default prefixes.'),
      edge: edge.describe('The HAProxy that serves every environment.'),
      topology: z
        .enum(['blue-green', 'multi-instance'], expected('blue-green or multi-instance'))
        .optional()
        .describe(
          'blue-green: two colors of each component, one of them active. multi-instance: listed instances side by side, without environments. Default: blue-green',
        ),
      environments: z
        .record(named, environment, expected(environmentsExpectation))
        .optional()
        .describe('The environments, by name. Needed in blue-green, and there alone.'),
      components: z
        .record(named, component, expected('components such as { web: { health: { path: / }, run: […] } }'))
        .describe('The services, by name; each has instances in every environment.'),
      external: z
        .record(
          named,
          external,
          expected('sites such as { blog: { hosts: [blog.example.org], server: "10.0.0.5:80" } }'),
        )
        .optional()
        .describe('Sites that the edge serves and Bascule does not deploy, by name. Only in blue-green.'),
      certificates: certificates
        .optional()
        .describe('Which certificates there are to be, in `edge.files.certificates`. Default: none'),
      artifacts: artifacts.optional().describe('Where releases come from. Needed as soon as a component has `run`.'),
      instances: instances.optional().describe('Where instances run.'),
      provision: provision.optional().describe('What `bascule provision` makes for an edge in an instance of Incus.'),
      notify: notify.optional().describe('Who is told when an operation has ended. Default: none'),
    },
    expected('a configuration: version, project, edge, environments, components, artifacts'),
  )
  .describe('bascule.yaml');

/** bascule.yaml as it is written. */
export type ConfigurationInput = z.infer<typeof configurationSchema>;
export type EdgeInput = ConfigurationInput['edge'];
export type EnvironmentInput = z.infer<typeof environment>;
export type ComponentInput = z.infer<typeof component>;
export type ExternalInput = z.infer<typeof external>;
export type CertificatesInput = z.infer<typeof certificates>;
export type ArtifactsInput = z.infer<typeof artifacts>;
export type InstancesInput = z.infer<typeof instances>;
export type ProvisionInput = z.infer<typeof provision>;
export type SecretInput = NonNullable<ArtifactsInput['token']>;
