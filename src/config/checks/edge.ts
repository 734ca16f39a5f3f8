import { isAbsolute } from 'node:path';
import { isEveryAddress } from '../../domain/addresses.js';
import { bindsOf, edgeFiles } from '../derived.js';
import { type LenientInput, processesOf } from '../lenient.js';
import { type Problem, wrong, wrongKey } from '../problem.js';
import { filePathCharacters, filePathPattern } from '../values.js';

/** Bytes of a Unix socket's path: the system takes 107, HAProxy binds it with `.<pid>.tmp` appended. */
const longestSocketPath = 90;

export function edgeProblems(input: LenientInput, folder: string): Problem[] {
  return [...hostProblems(input), ...bindProblems(input), ...httpsProblems(input), ...pathProblems(input, folder)];
}

function hostProblems({ edge, provision }: LenientInput): Problem[] {
  const isInIncus = edge?.host?.driver === 'incus';
  if (edge && provision && !isInIncus) {
    return [
      wrongKey(
        ['provision'],
        'expected only with `edge.host.driver: incus`: on its own machine there is nothing to make',
      ),
    ];
  }
  if (!isInIncus || edge.manage !== true) return [];
  return [wrong(['edge', 'manage'], 'expected false, since the system of that instance runs HAProxy')];
}

function bindProblems(input: LenientInput): Problem[] {
  const binds = bindsOf(input.edge ?? {});
  return binds.flatMap(({ key, bind }, index) => {
    const earlier = binds
      .slice(0, index)
      .find(
        (other) =>
          other.bind.port === bind.port &&
          (other.bind.address === bind.address || isEveryAddress(other.bind) || isEveryAddress(bind)),
      );
    return earlier
      ? [wrong(['edge', key], `expected another address or port: \`${earlier.key}\` takes this one already`)]
      : [];
  });
}

function httpsProblems({ edge, certificates }: LenientInput): Problem[] {
  if (!edge || 'https' in edge) return [];
  const message = 'expected only with `edge.https`';
  return [
    ...(edge.hsts ? [wrongKey(['edge', 'hsts'], message)] : []),
    ...(certificates ? [wrongKey(['certificates'], message)] : []),
  ];
}

function pathProblems(input: LenientInput, folder: string): Problem[] {
  const given = input.edge?.files ?? {};
  const files = edgeFiles(given, folder, input.edge?.host?.driver ?? 'local');
  const directory = processesOf(input)?.directory;
  const paths = [given.config, given.state, given.certificates, given.socket, given.master, directory];
  const hasRelative = paths.some((path) => path === undefined || !isAbsolute(path));
  const sockets = [
    { key: 'socket', path: files.socket },
    { key: 'master', path: files.masterSocket },
  ].filter(({ path }) => Buffer.byteLength(path) > longestSocketPath);
  return [
    ...(hasRelative && !filePathPattern.test(folder)
      ? [
          wrongKey(
            [],
            `expected this file in a folder whose path has ${filePathCharacters} only, not ${JSON.stringify(folder)}`,
          ),
        ]
      : []),
    // Without a path of its own the master's socket follows the other one, which is shown alone then.
    ...sockets
      .slice(0, given.master === undefined ? 1 : 2)
      .map(({ key, path }) =>
        wrong(
          ['edge', 'files', key],
          `expected a socket's path of at most ${longestSocketPath} bytes: ${JSON.stringify(path)} has ${Buffer.byteLength(path)}`,
        ),
      ),
    ...(files.socket === files.masterSocket
      ? [wrong(['edge', 'files', 'master'], 'expected another path than that of `socket`')]
      : []),
  ];
}
