import { expect, test } from 'vitest';
import { canBecomeProduct, compareFields, isGtin, issuesOf } from './matching.ts';

const item = { channelSku: 'A-1', title: 'Lamp', barcode: '4006381333931', isBundleParent: false };

test('a barcode is a GTIN by its check digit alone', () => {
  expect(['4006381333931', '036000291452', '96385074', '4006381333932', '123', 'ABC'].map(isGtin)).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test.each([
  [{}, []],
  [{ channelSku: ' ' }, [{ field: 'sku', reason: 'is missing: the item cannot be mapped by SKU' }]],
  [{ channelSku: 'x'.repeat(201) }, [{ field: 'sku', reason: 'has more than 200 characters' }]],
  [{ channelSku: 'A\u0007' }, [{ field: 'sku', reason: 'holds control characters' }]],
  [{ title: ' ' }, [{ field: 'title', reason: 'is missing' }]],
  [{ barcode: '4006381333932' }, [{ field: 'barcode', reason: 'has a wrong check digit' }]],
  [{ barcode: 'MY-CODE' }, []],
  [{ barcode: null }, []],
])('an item with %o is flagged with its field', (changes, issues) => {
  expect(issuesOf({ ...item, ...changes })).toEqual(issues);
});

test('a bundle parent and an impossible SKU never become products', () => {
  expect(canBecomeProduct(item)).toBe(true);
  expect(canBecomeProduct({ ...item, isBundleParent: true })).toBe(false);
  expect(canBecomeProduct({ ...item, channelSku: '' })).toBe(false);
});

test('fields are compared after NFC and trimming, and what only one side has is said', () => {
  const compare = (ours: [string, string | null], theirs: [string, string | null]) =>
    compareFields(
      { sku: 'A', title: ours[0], barcode: ours[1] },
      { channelSku: 'A', title: theirs[0], barcode: theirs[1], isBundleParent: false },
    ).map(({ verdict }) => verdict);
  expect(compare(['Caf\u00e9', '1'], [' Cafe\u0301', '2'])).toEqual(['equal', 'differs']);
  expect(compare(['', '1'], ['Lamp', null])).toEqual(['theirs_only', 'ours_only']);
  expect(compare(['', null], ['', null])).toEqual(['neither', 'neither']);
});
