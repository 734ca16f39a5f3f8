import { fileURLToPath } from 'node:url';

/**
 * The path of a file of this installation, such as `templates/haproxy.cfg.njk`. The sources lie one folder below its
 * root, and so does what the build makes of them.
 */
export const installed = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url));
