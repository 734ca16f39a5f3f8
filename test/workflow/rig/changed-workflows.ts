import { patched, sleep } from '@temporalio/workflow';
import * as workflows from '../../../src/workflows/index.js';

// Workflows as somebody may change them: with one more command at their beginning.

// biome-ignore lint/suspicious/noExplicitAny: what a workflow takes is handed through.
type Workflow = (...args: any[]) => Promise<unknown>;

declare const isChangePatched: boolean;

/** A bundle defines `isChangePatched`: whether the change leaves histories of before alone. */
function changed(run: Workflow): Workflow {
  return async (...args) => {
    if (!isChangePatched || patched('one more command')) await sleep(1);
    return run(...args);
  };
}

const [adoptCertificates, apply, certificate, certificates, revokeCertificate] = [
  workflows.adoptCertificates,
  workflows.apply,
  workflows.certificate,
  workflows.certificates,
  workflows.revokeCertificate,
].map(changed);

const [cleanup, deploy, edge, environment, rollback, switchColor, switchEdge] = [
  workflows.cleanup,
  workflows.deploy,
  workflows.edge,
  workflows.environment,
  workflows.rollback,
  workflows.switch,
  workflows.switchEdge,
].map(changed);

const [failoverTest, provision, scheduledFailoverTest] = [
  workflows.failoverTest,
  workflows.provision,
  workflows.scheduledFailoverTest,
].map(changed);

export {
  adoptCertificates,
  apply,
  certificate,
  certificates,
  cleanup,
  deploy,
  edge,
  environment,
  failoverTest,
  provision,
  revokeCertificate,
  rollback,
  scheduledFailoverTest,
  switchColor as switch,
  switchEdge,
};
