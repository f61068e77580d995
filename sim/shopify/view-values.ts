/**
 * How values look in GraphQL answers: times, money, addresses. Pure; shared by the views.
 */

import { money } from './payloads.ts';
import { gid } from './rows.ts';

export type View = Record<string, unknown>;

/** Shopify's DateTime: UTC, whole seconds. */
export const gqlTime = (at: number): string => `${new Date(Math.floor(at / 1000) * 1000).toISOString().slice(0, 19)}Z`;

export const timeOrNull = (at: number | null): string | null => (at === null ? null : gqlTime(at));
export const count = (n: number): View => ({ count: n, precision: 'EXACT' });

export function moneyBag(cents: number): View {
  const amount = { amount: money(cents), currencyCode: 'USD' };
  return { shopMoney: amount, presentmentMoney: amount };
}

export const ADDRESS = {
  address1: '1 Warehouse Road',
  address2: null,
  city: 'Louisville',
  country: 'United States',
  countryCode: 'US',
  province: 'Kentucky',
  provinceCode: 'KY',
  zip: '40202',
  phone: null,
};

export const MAILING_ADDRESS = {
  id: gid('MailingAddress', '1'),
  name: 'Sam Sample',
  firstName: 'Sam',
  lastName: 'Sample',
  company: null,
  address1: '1 Sample Street',
  address2: null,
  city: 'Louisville',
  province: 'Kentucky',
  provinceCode: 'KY',
  zip: '40202',
  country: 'United States',
  countryCodeV2: 'US',
  phone: null,
};
