import { expect, test } from 'vitest';
import { isPrivateAddress } from './endpoints.ts';

test.each([
  '127.0.0.1',
  '10.1.2.3',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '169.254.169.254',
  '100.64.0.1',
  '0.0.0.0',
  '224.0.0.1',
  '255.255.255.255',
  '::1',
  '::',
  'fd00::1',
  'fe80::1',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '64:ff9b::7f00:1',
])('%s is private', (address) => expect(isPrivateAddress(address)).toBe(true));

test.each([
  '23.227.38.65',
  '172.32.0.1',
  '100.128.0.1',
  '2620:0:2d0:200::7',
  '::ffff:23.227.38.65',
  'demo.myshopify.com',
])('%s is not', (address) => expect(isPrivateAddress(address)).toBe(false));
