import { isDefaultComponent } from '../derived.js';
import { isWrong, type LenientInput } from '../lenient.js';
import { type Problem, wrong, wrongKey } from '../problem.js';
import { repeated } from './repeated.js';

/** Each request leads to one component. */
export function routeProblems(input: LenientInput): Problem[] {
  return [...prefixProblems(input), ...defaultProblems(input), ...unreachedProblems(input)];
}

/** A component that no request leads to: every deploy of it would fail at its proof. */
function unreachedProblems(input: LenientInput): Problem[] {
  const components = Object.entries(input.components ?? {});
  const takesAll = components.find(([, given]) =>
    given?.routes?.some((route) => route?.prefix === '/' && !('extensions' in route)),
  );
  const isDefault = ([, given]: (typeof components)[number]) => isDefaultComponent(given?.default, components.length);
  // Which one is meant to be it is to be said first.
  if (!components.some(isDefault)) return [];
  return components.flatMap(([name, given]) => {
    if (!given || isWrong(given, 'routes') || isWrong(given, 'default') || given.routes?.includes(undefined)) return [];
    if ((given.routes ?? []).length > 0) return [];
    const path = ['components', name];
    if (!isDefaultComponent(given.default, components.length)) {
      return [
        wrongKey(path, 'no request leads to it: expected `routes` such as [{ prefix: /api }], or `default: true`'),
      ];
    }
    if (!takesAll) return [];
    return [wrongKey(path, `no request leads to it: "/" of component "${takesAll[0]}" takes each that no route takes`)];
  });
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
