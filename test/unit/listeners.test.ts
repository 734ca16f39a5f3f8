import { expect, test } from 'vitest';
import { BasculeError } from '../../src/errors.js';
import { overlaps, parseListeners } from '../../src/hosts/listeners.js';

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0000000000000000 100 0 0 10 0
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0200007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0000000000000000 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000200007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 0000000000000000 100 0 0 10 0
   2: B80D0120000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 16 1 0000000000000000 100 0 0 10 0
`;

test('sockets that listen are read for both families, and who is in whose way', () => {
  const sockets = parseListeners(table);
  expect(sockets.map(({ address, port, inode }) => `${address} ${port} ${inode}`)).toEqual([
    ...['127.0.0.1 8080 11', '0.0.0.0 8081 12'],
    ...[':: 8082 14', '127.0.0.2 8080 15', '2001:db8::1 8080 16'],
  ]);
  const inTheWayOf = (address: string, port: number) =>
    sockets.filter((one) => overlaps(one, { address, port })).map(({ inode }) => inode);
  expect(inTheWayOf('127.0.0.1', 8080)).toEqual(['11']);
  expect(inTheWayOf('127.0.0.9', 8080)).toEqual([]);
  expect(inTheWayOf('127.0.0.9', 8081)).toEqual(['12']);
  expect(inTheWayOf('127.0.0.9', 8082)).toEqual(['14']);
  expect(inTheWayOf('*', 8080)).toEqual(['11', '15', '16']);
});

test('who has an address is said with what gives it free', () => {
  const bind = { instance: 'web-blue', address: '127.0.0.9', port: 80 };
  const stranger = { address: '127.0.0.9', isEveryAddress: false, program: { pid: 42, name: 'nginx' }, release: null };
  const release = { instance: 'web-green', sha: 'abc1234' };
  const ours = { address: '::', isEveryAddress: true, program: { pid: 43, name: 'node' }, release };
  const said = (...listeners: (typeof stranger | typeof ours)[]) => {
    const { message, remedy } = new BasculeError('port-in-use', { ...bind, listeners });
    return `${message}. ${remedy}`;
  };
  expect(said(stranger)).toBe(
    'web-blue cannot start: 127.0.0.9:80 is taken by process 42 (nginx). End that process (`kill 42`), or choose another `port` or other `instances.addresses`.',
  );
  expect(said(ours)).toBe(
    'web-blue cannot start: 127.0.0.9:80 is taken by process 43 (node), release abc1234 in web-green, which listens on every address (::). Have the program of web-green listen on $HOST:$PORT alone, and deploy that. To have it end now: `kill 43`.',
  );
  expect(said()).toContain("(as root `ss -ltnp 'sport = :80'` names it)");
});
