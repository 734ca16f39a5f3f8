import { execa } from 'execa';

/** Runs a command as a user for whom nothing of Bascule's is; where the tests are not root's, as who runs them. */
export const asOtherUser: readonly string[] =
  process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : ['env'];

/** What another user can read of a folder, by path; the folder itself too. */
export async function readableByOthers(folder: string): Promise<readonly string[]> {
  const [run = '', ...args] = asOtherUser;
  // Where nobody else can be, the modes say it.
  const test = run === 'env' ? ['-perm', '/077'] : ['-readable'];
  const { stdout } = await execa(run, [...args, 'find', folder, ...test, '-print'], { cwd: '/', reject: false });
  return stdout
    .split('\n')
    .filter((path) => path !== '')
    .toSorted();
}
