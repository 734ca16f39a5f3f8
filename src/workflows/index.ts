// Every workflow under the name that it has in Temporal.
export { adoptCertificates } from './adopt-certificates.js';
export { apply } from './apply.js';
export { certificate } from './certificate.js';
export { certificates } from './certificates.js';
export { cleanupFailed as cleanup } from './cleanup.js';
export { deploy } from './deploy.js';
export { edge } from './edge.js';
export { environment } from './environment.js';
export { failoverTest } from './failover-test.js';
export { inspect } from './inspect.js';
export { provision } from './provision.js';
export { revokeCertificate } from './revoke-certificate.js';
export { rollback } from './rollback.js';
export { scheduledFailoverTest } from './scheduled-failover-test.js';
export { switchColor as switch } from './switch.js';
export { switchEdge } from './switch-edge.js';
