import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of the bundled workflows. */
    workflowBundle: string;
  }
}

const workflowsPath = fileURLToPath(new URL('../../../src/workflows/index.ts', import.meta.url));

/** Bundles the workflows once for all files: each bundling takes longer than most files' tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'bascule-workflows-'));
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
  const file = join(directory, 'workflow-bundle.js');
  await writeFile(file, code);
  project.provide('workflowBundle', file);
  return () => rm(directory, { recursive: true, force: true });
}
