import { artifactUrlProblem, mayTakeToken } from './artifact-url.js';
import { addressProblems } from './checks/addresses.js';
import { backendProblems } from './checks/backends.js';
import { edgeProblems } from './checks/edge.js';
import { nameProblems } from './checks/names.js';
import { routeProblems } from './checks/routes.js';
import { topologyProblems } from './checks/topology.js';
import type { LenientInput } from './lenient.js';
import { type Problem, wrong } from './problem.js';

/**
 * What no field can tell alone. It runs on what the schema let through, so that these errors are shown together with the
 * schema's; what is missing or wrong already is passed over.
 */
export function crossFieldProblems(input: LenientInput, folder: string): Problem[] {
  return [
    ...topologyProblems(input),
    ...nameProblems(input),
    ...backendProblems(input),
    ...routeProblems(input),
    ...edgeProblems(input, folder),
    ...addressProblems(input),
    ...artifactProblems(input),
  ];
}

function artifactProblems(input: LenientInput): Problem[] {
  const { url, token } = input.artifacts ?? {};
  const problems = (['url', 'checksum'] as const).flatMap((key) => {
    const given = input.artifacts?.[key];
    const problem = given === undefined ? null : artifactUrlProblem(key, given);
    return problem === null ? [] : [wrong(['artifacts', key], problem)];
  });
  if (problems.length > 0 || url === undefined || token === undefined || mayTakeToken(url)) return problems;
  return [wrong(['artifacts', 'token'], 'expected `artifacts.url` by https: a token goes over no open network')];
}
