/**
 * Lifecycle: the three axes of an order, and the steps each may take.
 *
 *   order        new → confirmed → processing → completed; cancelled or failed from any step before completion
 *   payment      pending → authorized → paid → partially refunded → refunded; failed
 *   fulfillment  unfulfilled → partly shipped → shipped → in transit → out for delivery → delivered; exception; returns
 *
 * A channel's word is a fact and is always kept; a step that is not in the table is noted in the order's history as
 * unusual, so that a person sees it. Our own actions are refused when their step is not in the table.
 */

export const orderStatuses = ['new', 'confirmed', 'processing', 'completed', 'cancelled', 'failed'] as const;
export type OrderStatus = (typeof orderStatuses)[number];

export const paymentStatuses = [
  'pending',
  'authorized',
  'paid',
  'partially_refunded',
  'refunded',
  'failed',
  'unrecognized',
] as const;
export type PaymentStatus = (typeof paymentStatuses)[number];

export const fulfillmentStatuses = [
  'unfulfilled',
  'partly_shipped',
  'shipped',
  'in_transit',
  'out_for_delivery',
  'delivered',
  'exception',
  'partly_returned',
  'returned',
  'unrecognized',
] as const;
export type FulfillmentStatus = (typeof fulfillmentStatuses)[number];

const orderSteps: Record<OrderStatus, readonly OrderStatus[]> = {
  new: ['confirmed', 'processing', 'completed', 'cancelled', 'failed'],
  confirmed: ['processing', 'completed', 'cancelled', 'failed'],
  processing: ['completed', 'cancelled', 'failed'],
  completed: [],
  cancelled: [],
  failed: ['new', 'confirmed'],
};

const paymentSteps: Record<PaymentStatus, readonly PaymentStatus[]> = {
  pending: ['authorized', 'paid', 'partially_refunded', 'refunded', 'failed', 'unrecognized'],
  authorized: ['paid', 'partially_refunded', 'refunded', 'failed', 'unrecognized'],
  paid: ['partially_refunded', 'refunded', 'unrecognized'],
  partially_refunded: ['refunded', 'unrecognized'],
  refunded: [],
  failed: ['pending', 'authorized', 'paid', 'unrecognized'],
  unrecognized: paymentStatuses,
};

const fulfillmentSteps: Record<FulfillmentStatus, readonly FulfillmentStatus[]> = {
  unfulfilled: ['partly_shipped', 'shipped', 'in_transit', 'out_for_delivery', 'delivered', 'exception'],
  partly_shipped: ['shipped', 'in_transit', 'out_for_delivery', 'delivered', 'exception', 'partly_returned'],
  shipped: ['in_transit', 'out_for_delivery', 'delivered', 'exception', 'partly_returned', 'returned'],
  in_transit: ['out_for_delivery', 'delivered', 'exception', 'partly_returned', 'returned'],
  out_for_delivery: ['in_transit', 'delivered', 'exception', 'partly_returned', 'returned'],
  delivered: ['partly_returned', 'returned'],
  exception: ['in_transit', 'out_for_delivery', 'delivered', 'partly_returned', 'returned'],
  partly_returned: ['returned'],
  returned: [],
  unrecognized: fulfillmentStatuses,
};

export type Axis = 'order' | 'payment' | 'fulfillment';

/** Whether an axis may go from one value to another; staying is always allowed. */
export function allowsStep(axis: 'order', from: OrderStatus, to: OrderStatus): boolean;
export function allowsStep(axis: 'payment', from: PaymentStatus, to: PaymentStatus): boolean;
export function allowsStep(axis: 'fulfillment', from: FulfillmentStatus, to: FulfillmentStatus): boolean;
export function allowsStep(axis: Axis, from: string, to: string): boolean {
  if (from === to) return true;
  const steps: Record<string, readonly string[]> = {
    order: orderSteps,
    payment: paymentSteps,
    fulfillment: fulfillmentSteps,
  }[axis];
  return steps[from]?.includes(to) ?? false;
}

/** The order axis as a channel's order shows it. */
export function statusOf(order: { state: 'pending' | 'open' | 'cancelled'; fulfillment: string }): OrderStatus {
  if (order.state === 'cancelled') return 'cancelled';
  if (order.state === 'pending') return 'new';
  if (order.fulfillment === 'shipped') return 'completed';
  return order.fulfillment === 'partly_shipped' ? 'processing' : 'confirmed';
}

/** What we know of the parcels beyond "shipped" is kept when the channel merely repeats that it shipped. */
export function fulfillmentAfter(stored: FulfillmentStatus | null, told: FulfillmentStatus): FulfillmentStatus {
  if (stored === null) return told;
  if (told === 'unrecognized') return stored;
  const beyond: readonly FulfillmentStatus[] = [
    'in_transit',
    'out_for_delivery',
    'delivered',
    'exception',
    'partly_returned',
    'returned',
  ];
  return told === 'shipped' && beyond.includes(stored) ? stored : told;
}
