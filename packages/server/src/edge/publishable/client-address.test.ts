import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { clientAddress } from './client-address.ts';

const address = (remoteAddress: string, forwarded?: string, trustedProxies = 0) =>
  clientAddress(
    { socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } } as unknown as IncomingMessage,
    trustedProxies,
  );

test('believes as many proxies as there are, and no client', () => {
  expect(address('10.0.0.1', '1.2.3.4')).toBe('10.0.0.1');
  expect(address('10.0.0.1', '6.6.6.6, 1.2.3.4', 1)).toBe('1.2.3.4');
  expect(address('10.0.0.1', '6.6.6.6, 1.2.3.4, 10.0.0.2', 2)).toBe('1.2.3.4');
  expect(address('10.0.0.1', '1.2.3.4', 2)).toBe('10.0.0.1');
  expect(address('10.0.0.1', undefined, 1)).toBe('10.0.0.1');
  expect(address('10.0.0.1', 'unknown', 1)).toBe('10.0.0.1');
});

test('takes the network that one IPv6 client has', () => {
  expect(address('::ffff:1.2.3.4')).toBe('1.2.3.4');
  expect(address('2001:db8:0:12:aaaa::1')).toBe('2001:db8:0:12');
  expect(address('2001:0db8::1')).toBe('2001:db8:0:0');
  expect(address('2001:db8:0:12:bbbb:cc:dd:ee')).toBe('2001:db8:0:12');
  expect(address('::1')).toBe('0:0:0:0');
  expect(address('fe80::1%eth0')).toBe('fe80:0:0:0');
});
