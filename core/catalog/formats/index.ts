/** The files of vendors that we read, in the order in which a header is held against them. */
import { amazonListings } from './amazon-listings.ts';
import type { FileFormat } from './format.ts';
import { shopifyInventory } from './shopify-inventory.ts';
import { shopifyProducts } from './shopify-products.ts';

export type { Derived, FileFormat, FileRecord, FormatOptions } from './format.ts';

export const merchantFormats: readonly FileFormat[] = [amazonListings, shopifyInventory, shopifyProducts];

/** The vendor's format with this header; null: none, so it is one of our own or unknown. */
export const recogniseFormat = (header: readonly string[]): FileFormat | null =>
  merchantFormats.find((format) => format.recognises(header)) ?? null;

export const formatNamed = (name: string): FileFormat | null =>
  merchantFormats.find((format) => format.name === name) ?? null;
