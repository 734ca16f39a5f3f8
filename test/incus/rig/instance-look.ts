import { runtimeSocket } from '../../../src/haproxy/edge.js';
import { until } from '../../rig/chaos.js';
import { openProject } from '../../rig/open-project.js';
import { lookAtHaproxy, type ProjectLook } from '../../rig/project-look.js';
import { runIncus } from './containers.js';
import type { InstanceProject } from './projects.js';

/** What acts write, by digest, and what systemd runs. What is the programs' own, and locks, are no act's. */
const looker = `
find /var/lib/bascule /opt /etc/demo /etc/systemd/system /run/systemd/system /var/lib/demo /etc/haproxy \
  ! -name lock ! -name 'pushed-*' ! -path '/opt/*/*/*/*' \
  \\( -type f -exec sha256sum {} + -o -printf '%p %y %l %m %u\\n' \\) 2>/dev/null | sort
for unit in $(systemctl list-units --all --plain --no-legend 'demo-*' haproxy.service | cut -d ' ' -f 1); do
  echo "/$unit" $(systemctl show -p MainPID -p NRestarts -p ActiveState -p UnitFileState "$unit")
done
echo whole`;

interface Listed {
  readonly name: string;
  readonly status: string;
  readonly config: Readonly<Record<string, string>>;
  readonly devices: unknown;
}

/** All that an act may change where edge and instances are in Incus: containers, and in each its files and services. */
export async function lookAtInstances({ project, edge, prefix }: InstanceProject): Promise<ProjectLook> {
  const all = JSON.parse(await runIncus('list', '--format', 'json')) as Listed[];
  const mine = all.filter(({ name }) => name === edge.name || name.startsWith(prefix));
  // On a busy machine Incus's own client ends now and then without what the command wrote.
  const lookInto = (name: string) =>
    until(`all of ${name} is seen`, async () => {
      const seen = await runIncus('exec', name, '--', '/bin/sh', '-c', looker);
      return seen.endsWith('whole') && seen;
    });
  const looks = await Promise.all(
    mine.map(async ({ name, status, config, devices }): Promise<readonly [string, unknown][]> => {
      const seen = status === 'Running' ? await lookInto(name) : '';
      const inside = [...seen.matchAll(/^.*?(\/\S+).*$/gm)].map(([line, path]): [string, unknown] => [
        `${name} ${path}`,
        line,
      ]);
      return [[name, { status, config, devices }], ...inside];
    }),
  );
  return {
    ...Object.fromEntries(looks.flat()),
    ...(await lookAtHaproxy(runtimeSocket((await openProject(project)).edge))),
  };
}
