import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import type { TestProject } from 'vitest/node';
import { temporalPath, temporalTestServerPath } from '../../rig/temporal.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of the bundled workflows. */
    workflowBundle: string;
    /** Paths of Temporal's servers, which print nothing here. */
    temporalServers: { readonly dev: string; readonly timeSkipping: string };
  }
}

const workflowsPath = fileURLToPath(new URL('../../../src/workflows/index.ts', import.meta.url));

/** Bundles the workflows once for all files: each bundling takes longer than most files' tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'bascule-workflows-'));
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
  const workflowBundle = join(directory, 'workflow-bundle.js');
  await writeFile(workflowBundle, code);
  project.provide('workflowBundle', workflowBundle);

  /** The SDK lets a server print to the tests' own output: banners, and a stack trace for each refused request. */
  const quiet = async (name: string, executable: string): Promise<string> => {
    const path = join(directory, name);
    await writeFile(path, `#!/bin/sh\nexec '${executable}' "$@" >'${path}.log' 2>&1\n`, { mode: 0o755 });
    return path;
  };
  project.provide('temporalServers', {
    dev: await quiet('temporal', await temporalPath()),
    timeSkipping: await quiet('temporal-test-server', await temporalTestServerPath()),
  });
  return () => rm(directory, { recursive: true, force: true });
}
