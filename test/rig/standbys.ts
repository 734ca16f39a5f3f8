import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Color, EnvironmentState } from '../../src/domain/edge-state.js';
import { parseInstalledConfiguration } from '../../src/haproxy/header.js';
import { mustSucceed } from './chaos.js';
import type { Project } from './project.js';

/** What each environment serves by the installed haproxy.cfg. */
async function statesOf({ directory }: Project): Promise<ReadonlyMap<string, EnvironmentState>> {
  const text = await readFile(join(directory, '.bascule/edge/haproxy.cfg'), 'utf8');
  return new Map(parseInstalledConfiguration(text)?.states.map((state) => [state.name, state]));
}

export interface ServingWithStandby {
  readonly name: string;
  readonly color: Color;
  readonly sha: string;
  readonly standby: string;
}

/** Deploys where no release stands by, until each of these environments has one; answers what they serve then. */
export async function withStandbys<Name extends string>(
  project: Project,
  environments: readonly Name[],
  nextSha: () => string,
): Promise<Record<Name, ServingWithStandby>> {
  const found = environments.map(async (name): Promise<readonly [Name, ServingWithStandby]> => {
    let state = (await statesOf(project)).get(name);
    while (!state?.sha || !state.standby) {
      const sha = nextSha();
      await project.releaseAll(sha);
      await mustSucceed(project, 'deploy', name, sha, '--soak', '0s');
      state = (await statesOf(project)).get(name);
    }
    const { color, sha, standby } = state;
    return [name, { name, color, sha, standby }];
  });
  return Object.fromEntries(await Promise.all(found)) as Record<Name, ServingWithStandby>;
}
