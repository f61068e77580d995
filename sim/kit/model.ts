/**
 * What a simulated vendor must be able to do: answer its own API (`VendorModel`) and play the world around it: buyers,
 * staff and goods (`VendorControl`, reached through `/_sim`). The kit does the rest (faults, latency, log, durability).
 *
 * Control acts change the vendor's data and queue its messages in one transaction; the answer goes out when the change
 * is durable, not when messages are delivered.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Fault } from './faults.ts';

/** A control request that the vendor cannot carry out: answered with `status` and `{ error }`, nothing changed. */
export class ControlRefusal extends Error {
  readonly status: number;
  constructor(status: 400 | 404 | 409 | 422, message: string) {
    super(message);
    this.name = 'ControlRefusal';
    this.status = status;
  }
}

export interface SimItem {
  sku: string;
  externalId: string;
  variantExternalId?: string;
  stockKey: string;
  location: string;
  /** The vendor's own sellable number; may be negative where the vendor allows it. */
  quantity: number;
  committed: number;
}

export interface SimOrderLine {
  id: string;
  sku: string;
  quantity: number;
}

export interface SimOrder {
  id: string;
  status: string;
  lines: SimOrderLine[];
}

/** A line named by its id or by its SKU (the first line with it). */
export interface LineRef {
  id?: string | undefined;
  sku?: string | undefined;
  quantity: number;
}

export interface VendorControl {
  items(): SimItem[];
  orders(): SimOrder[];
  /** @throws ControlRefusal 409 when the vendor's own number does not suffice and `oversell` is not set. */
  placeOrder(input: {
    lines: { sku: string; quantity: number }[];
    status: 'paid' | 'pending';
    location?: string | undefined;
    id?: string | undefined;
    oversell: boolean;
  }): { id: string; lines: SimOrderLine[] };
  payOrder(input: { order: string }): SimOrder;
  /** Quantities are the new ones, not differences. */
  editOrder(input: { order: string; lines: LineRef[] }): SimOrder;
  /** Without lines: the whole order. */
  cancelOrder(input: { order: string; restock: boolean; lines?: LineRef[] | undefined }): SimOrder;
  returnGoods(input: { order: string; lines: (LineRef & { disposition: string })[]; restock: boolean }): SimOrder;
  /** Without lines: everything that is left. */
  fulfillOrder(input: { order: string; lines?: LineRef[] | undefined }): SimOrder;
  /** Someone edits the number in the vendor's admin. */
  setStock(input: { sku: string; location?: string | undefined; quantity: number }): SimItem;
  /** Someone makes, changes or (`removed`) deletes a product in the vendor's admin; where it is not offered, the control answers 404. */
  editProduct?(input: {
    sku: string;
    title?: string | undefined;
    barcode?: string | undefined;
    removed?: boolean | undefined;
  }): { sku: string; externalId: string };
  /** Back to the seed: goods and orders. Credentials, subscriptions, the clock and all counters stay. */
  reset(): void;
  /** Told of a fault just set, for vendors that do more than refuse calls (Shopify's uninstall). */
  faultSet?(fault: Fault): void;
}

export interface VendorCall {
  method: string;
  /** Below the simulator's base path, still percent-encoded, e.g. "/listings/2021-08-01/items/A1/SKU%2F1". */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Where this simulator is reachable, e.g. "http://127.0.0.1:40123/shop-a". */
  baseUrl: string;
  /** Aborts when the caller hangs up or the host closes. */
  gone(): AbortSignal;
}

/** What a call is, before it is carried out: for fault matching and the log. */
export interface CallIdentity {
  operation: string;
  /** Every name a fault may match; default: just `operation`. */
  operations?: readonly string[];
  /** Carries credentials in its bodies: they are not logged. */
  confidential?: boolean;
}

export interface VendorReply {
  status: number;
  headers?: Record<string, string>;
  body: string | Buffer;
  /** Whether the call changed the vendor's data. */
  applied: boolean;
}

export interface VendorModel<Identity extends CallIdentity = CallIdentity> extends VendorControl {
  identify(call: VendorCall): Identity;
  answer(call: VendorCall, identity: Identity): VendorReply | Promise<VendorReply>;
  /** The answer to a call that meets a `status` or `revoke` fault, in the vendor's own words. */
  refuse(fault: Fault, call: VendorCall, identity: Identity): VendorReply;
  /** How long the vendor takes to answer, [least, most], under the current profile. */
  latencyMs(): readonly [number, number];
  /** Rewrites the origin of every address the vendor keeps (subscriptions, pending deliveries). */
  retarget(from: string | null, to: string): void;
  /** Begins sending; called when mounted. */
  start(): void;
  close(): Promise<void>;
}
