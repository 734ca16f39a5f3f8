import { isDefaultComponent } from '../derived.js';
import { isWrong, type LenientInput } from '../lenient.js';
import { type Problem, wrong, wrongKey } from '../problem.js';
import { repeated } from './repeated.js';

/** Each request leads to one component. */
export function routeProblems(input: LenientInput): Problem[] {
  return [...prefixProblems(input), ...defaultProblems(input)];
}

/** Two routes of one prefix clash where neither has extensions, or where both have the same one. */
function prefixProblems(input: LenientInput): Problem[] {
  const routes = Object.entries(input.components ?? {}).flatMap(([name, given]) =>
    (given?.routes ?? []).flatMap((route, index) => {
      if (!route || isWrong(route, 'extensions')) return [];
      const path = ['components', name, 'routes', index];
      const { prefix, extensions } = route;
      if (!extensions) return [{ key: prefix && `"${prefix}"`, owner: name, path: [...path, 'prefix'] }];
      return extensions.map((extension, place) => ({
        key: prefix && extension && `"${prefix}" with extension "${extension}"`,
        owner: name,
        path: [...path, 'extensions', place],
      }));
    }),
  );
  return repeated(routes, (prefix, component) => `prefix ${prefix} leads to component "${component}" already`);
}

function defaultProblems(input: LenientInput): Problem[] {
  const components = Object.entries(input.components ?? {});
  const isUnknown = components.some(([, given]) => !given || isWrong(given, 'default'));
  const [first, ...others] = components.filter(([, given]) => isDefaultComponent(given?.default, components.length));
  if (!first) {
    return isUnknown || components.length === 0
      ? []
      : [wrongKey(['components'], 'expected `default: true` in one component, which takes what no route takes')];
  }
  return others.map(([name]) =>
    wrong(['components', name, 'default'], `expected one default component: "${first[0]}" is it already`),
  );
}
