import { placeEdgesInContainer } from './rig/containers.js';

await placeEdgesInContainer();
await import('../integration/fence.test.js');
