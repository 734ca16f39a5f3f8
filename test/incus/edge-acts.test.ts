import { placeEdgesInContainer } from './rig/shared-container.js';

await placeEdgesInContainer();
await import('../integration/edge-acts.test.js');
