import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import * as z from 'zod';

const read = (file: string) => readFileSync(resolve(import.meta.dirname, '../..', file), 'utf8');

const lockFile = z.object({
  packages: z.record(
    z.string(),
    z.object({ integrity: z.string().optional(), hasInstallScript: z.boolean().optional() }),
  ),
});
const packages = Object.entries(lockFile.parse(JSON.parse(read('package-lock.json'))).packages).filter(
  ([path]) => path !== '',
);

test('every package is pinned by its digest', () => {
  expect(packages.length).toBeGreaterThan(50);
  expect(packages.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual([]);
});

test('no install script runs, and those that would are known and not needed', () => {
  expect(read('.npmrc').split('\n')).toContain('ignore-scripts=true');
  const named = packages.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
  expect(named).toEqual([
    'node_modules/@grpc/proto-loader/node_modules/protobufjs',
    'node_modules/@swc/core',
    'node_modules/esbuild',
  ]);
});
