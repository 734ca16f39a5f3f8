import { placeEdgesInContainer } from './rig/containers.js';

await placeEdgesInContainer();
await import('../integration/edge-acts.test.js');
