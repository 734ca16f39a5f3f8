import { readFileSync } from 'node:fs';
import { installed } from './installation.js';

/** Version of this Bascule, as package.json has it. */
export function readVersion(): string {
  return (JSON.parse(readFileSync(installed('package.json'), 'utf8')) as { version: string }).version;
}
