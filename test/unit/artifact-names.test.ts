import { describe, expect, test } from 'vitest';
import { artifactUrl, checksumUrl, parseChecksum } from '../../src/instances/artifact-names.js';

const names = { component: 'api', environment: 'prod', sha: 'aaaaaaa1' };
const sum = 'ab'.repeat(32);

test('component, environment and sha go into the URL, each as often as it is there', () => {
  const template = 'https://git.example/{environment}/{component}/{sha}/{component}-{sha}.tar.gz';
  expect(artifactUrl(template, names)).toBe('https://git.example/prod/api/aaaaaaa1/api-aaaaaaa1.tar.gz');
});

test('the checksum URL may begin with that of the artifact, or be one of its own', () => {
  const url = 'https://git.example/api-$&.tar.gz';
  expect(checksumUrl('{url}.sha256', { ...names, url })).toBe(`${url}.sha256`);
  expect(checksumUrl('file:///sums/{sha}', { ...names, url })).toBe('file:///sums/aaaaaaa1');
});

describe('a checksum file', () => {
  test.each([
    ['alone', sum],
    ['with spaces behind it', `${sum}  \n`],
    ['as of sha256sum', `${sum}  api.tar.gz\n`],
    ['with a path', `${sum} *./dist/api.tar.gz\n`],
    ['of a file with an odd name', `\\${sum}  api.tar.gz\n`],
    ['of one other file', `${sum}  build-77.tar.gz\n`],
    ['among others', `${'0'.repeat(64)}  web.tar.gz\n${sum}  api.tar.gz\n`],
  ])('is read: %s', (_, text) => {
    expect(parseChecksum(text, 'api.tar.gz')).toBe(sum);
  });

  test.each([
    ['too short', sum.slice(1)],
    ['too long', `${sum}0`],
    ['of several other files', `${sum}  web.tar.gz\n${sum}  worker.tar.gz\n`],
    ['without a sum', 'api.tar.gz'],
  ])('is refused: %s', (_, text) => {
    expect(parseChecksum(text, 'api.tar.gz')).toBe(null);
  });
});
