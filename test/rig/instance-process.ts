import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Color } from '../../src/domain/edge-state.js';
import type { Project } from './project.js';

/** SIGKILL to every instance of a color of prod, as a crash of all of them at once. */
export async function killColor(project: Project, color: Color): Promise<void> {
  const pids = await Promise.all(['api', 'web'].map((component) => pidOf(project, `demo-${component}-${color}`)));
  for (const pid of pids) process.kill(pid, 'SIGKILL');
}

async function pidOf({ directory }: Project, instance: string): Promise<number> {
  const record = await readFile(join(directory, '.bascule', 'instances', instance, 'record'), 'utf8');
  const pid = /^pid=(\d+)$/m.exec(record)?.[1];
  if (!pid) throw new Error(`${instance} has no process on record`);
  return Number(pid);
}
