import type { Color, EnvironmentState } from '../../src/domain/edge-state.js';
import { readInstalled } from '../../src/haproxy/installed.js';
import { mustSucceed } from './chaos.js';
import { openProject } from './open-project.js';
import type { Project } from './project.js';

/** What each environment serves by the installed haproxy.cfg. */
async function statesOf(project: Project): Promise<ReadonlyMap<string, EnvironmentState>> {
  const { edge } = await openProject(project);
  return new Map((await readInstalled(edge))?.states.map((state) => [state.name, state]));
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
