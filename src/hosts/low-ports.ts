import { execa } from 'execa';
import { firstFreePort } from '../domain/addresses.js';
import type { BindAddress } from '../domain/configuration.js';
import { isListening } from '../listening.js';

/**
 * Whether HAProxy could listen where this process may not, since its file has the capability for it; null where it
 * could not either. Who listens there now can only be asked.
 */
export async function isFreeForHaproxy({ address, port }: BindAddress, path: string): Promise<boolean | null> {
  if (port >= firstFreePort) return null;
  const script = 'getcap "$(command -v haproxy)"';
  const { stdout } = await execa('sh', ['-c', script], { env: { PATH: path }, reject: false });
  if (!/\bcap_net_bind_service\b[^ ]*[=+]e?i?p/.test(stdout)) return null;
  return !(await isListening({ host: address === '*' ? '127.0.0.1' : address, port }));
}
