import { expect, test } from 'vitest';
import { sameText, sign, verifySignature } from './signature.ts';

const body = Buffer.from('{"id":820982911946154508}');

test('the signature is the HMAC-SHA256 of RFC 4231 case 2, in hex and base64', () => {
  const hex = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
  expect(sign('what do ya want for nothing?', 'Jefe', 'hex')).toBe(hex);
  expect(sign('what do ya want for nothing?', 'Jefe', 'base64')).toBe(Buffer.from(hex, 'hex').toString('base64'));
});

test('any of several secrets is enough, as vendors sign with the oldest one during a rotation', () => {
  const signature = sign(body, 'old', 'base64');
  expect(verifySignature(body, signature, ['new', 'old'], 'base64')).toBe(true);
  expect(verifySignature(body, signature, ['new'], 'base64')).toBe(false);
});

test('one changed byte, a cut signature, the other encoding and no signature are all refused', () => {
  const signature = sign(body, 's', 'base64');
  expect(verifySignature(Buffer.from('{"id":820982911946154509}'), signature, ['s'], 'base64')).toBe(false);
  expect(verifySignature(body, signature.slice(0, -1), ['s'], 'base64')).toBe(false);
  expect(verifySignature(body, sign(body, 's', 'hex'), ['s'], 'base64')).toBe(false);
  expect(verifySignature(body, undefined, ['s'], 'base64')).toBe(false);
  expect(verifySignature(body, '', ['s'], 'base64')).toBe(false);
});

test('without a secret nothing is accepted, even what an empty secret would have signed', () => {
  expect(verifySignature(body, sign(body, '', 'base64'), [], 'base64')).toBe(false);
  expect(verifySignature(body, sign(body, '', 'base64'), [''], 'base64')).toBe(false);
});

test('texts compare by bytes, lengths included', () => {
  expect(sameText('abc', 'abc')).toBe(true);
  expect(sameText('abc', 'abd')).toBe(false);
  expect(sameText('abc', 'abcd')).toBe(false);
});
