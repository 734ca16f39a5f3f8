import { createHash } from 'node:crypto';
import { type Instance, instanceFiles } from './record.js';

type Variables = Readonly<Record<string, string>>;

/** What a program may see of the worker's own environment. */
const passedOn = ['PATH', 'HOME', 'LANG', 'TZ'] as const;

/**
 * Everything in the environment of an instance's program: its place, where it keeps data, the component's own `env`, and
 * what every program has there, which for a process is what is passed on and a folder of its own for temporary files.
 */
export function programEnvironment(
  instance: Pick<Instance, 'directory' | 'name' | 'environment' | 'component' | 'color' | 'address' | 'port'>,
  { sha, env, data }: { sha: string; env: Variables; data: string },
  everywhere: Variables = { ...workerVariables(), TMPDIR: instanceFiles(instance).temporary },
): Variables {
  return {
    ...everywhere,
    ...env,
    HOST: instance.address,
    PORT: String(instance.port),
    BASCULE_ENVIRONMENT: instance.environment,
    BASCULE_COMPONENT: instance.component,
    ...(instance.color === null ? {} : { BASCULE_COLOR: instance.color }),
    BASCULE_SHA: sha,
    BASCULE_DATA: data,
  };
}

/** SHA-256 over the names and values of a component's `env`: a changed secret can be seen, and the record holds none. */
export function environmentDigest(env: Variables): string {
  const sorted = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

/**
 * The variables as lines that a shell reads, and a last one by which it knows them to be whole. They go over stdin:
 * arguments are seen by every user of the machine.
 */
export function shellExports(variables: Variables): string {
  const lines = Object.entries(variables).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new RangeError(`${name} cannot name an environment variable`);
    if (value.includes('\0')) throw new RangeError(`the value of ${name} has a NUL byte in it`);
    return `export ${name}='${value.replaceAll("'", "'\\''")}'\n`;
  });
  return `${lines.join('')}# end\n`;
}

function workerVariables(): Variables {
  return Object.fromEntries(
    passedOn.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}
