import type { CertificatesRequest } from '../../../src/domain/issuance.js';
import { certificatesWorkflowId, dryProvisionWorkflowId, provisionWorkflowId } from '../../../src/domain/names.js';
import type { ProvisionRequest } from '../../../src/domain/provision.js';
import { ofBascule } from './provision-world.js';
import type { Rig } from './rig.js';
import { project, type World } from './world.js';

/** What is asked of certificates as the command line, an apply and the schedule do: of each world once. */
export interface CertificateRun {
  readonly type: 'certificates' | 'apply' | 'revokeCertificate' | 'adoptCertificates';
  readonly idOf: (world: World) => string;
  readonly inputOf: (world: World) => unknown;
  /** What it finds. */
  prepare(world: World): void;
  /** In the order in which they are taken. */
  readonly steps: readonly string[];
}

/** Of the certificate `a` that is missing, what is asked of the authority. */
export const authoritySteps = [
  'checkNames a',
  'registerAccount a',
  'placeOrder a',
  'answerChallenges a',
  'finalizeOrder a',
  'downloadCertificate a',
] as const;

const idOf =
  (kind: string) =>
  ({ name }: World): string =>
    certificatesWorkflowId(project, kind, name);

/** `a` is missing, and the edge does not answer challenges yet. */
function isNew(world: World): void {
  world.missing('a');
  world.edge.answersNoChallenges();
}

const issue: CertificatesRequest = { kind: 'issue' };
const obtaining = ['requestEdgeChange challenges', ...authoritySteps, 'requestEdgeChange install', 'closeOrder a'];

export const certificateRuns = {
  'certs issue': {
    ...{ type: 'certificates', idOf: idOf('issue'), inputOf: () => issue, prepare: isNew },
    steps: ['planCertificates', ...obtaining, 'scheduleLooks'],
  },
  'an apply of a new host': {
    type: 'apply',
    idOf: ({ name }) => `${project}/apply/${name}`,
    inputOf: ({ name }) => ({ kind: 'apply', id: `${project}/apply/${name}`, operation: `${project}/apply/${name}` }),
    prepare(world) {
      isNew(world);
      world.edge.configures('new');
    },
    steps: ['planCertificates', ...obtaining, 'scheduleLooks', 'requestEdgeChange in-force'],
  },
  'certs revoke': {
    type: 'revokeCertificate',
    idOf: idOf('revoke'),
    inputOf: ({ name }) => ({ name: `${name}.a`, reason: 'keyCompromise' }),
    prepare: ({ edge, name }) => edge.holdsCertificates(`${name}.a`),
    steps: ['revokeCertificate'],
  },
  'certs adopt': {
    type: 'adoptCertificates',
    idOf: idOf('adopt'),
    inputOf: () => ({ accountKey: '/var/lib/dehydrated/account_key.pem' }),
    prepare(world) {
      isNew(world);
      world.edge.holdsCertificates(`${world.name}.a`);
    },
    steps: ['adoptCertificates', 'requestEdgeChange challenges'],
  },
} as const satisfies Readonly<Record<string, CertificateRun>>;

/** Begins one; answers its id, which its workflow has. */
export async function beginRun(rig: Rig, world: World, { type, idOf, inputOf }: CertificateRun): Promise<string> {
  await rig.start(type, idOf(world), [inputOf(world)]);
  return idOf(world);
}

let obtained = 0;

/** Begins to obtain what is missing or due; answers the id. */
export async function beginObtaining(rig: Rig, world: World, request: CertificatesRequest = issue): Promise<string> {
  obtained += 1;
  const id = certificatesWorkflowId(project, `${request.kind}-${obtained}`, world.name);
  await rig.start('certificates', id, [request]);
  return id;
}

/** Starts to provision an edge that has no configuration yet; answers the workflow's id. */
export async function beginProvision(rig: Rig, world: World, request: ProvisionRequest = {}): Promise<string> {
  const { edge, name } = world;
  edge.configures(ofBascule);
  const id = request.dryRun ? dryProvisionWorkflowId(project, name) : provisionWorkflowId(project, name);
  await rig.start('provision', id, [request]);
  return id;
}
