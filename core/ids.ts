/**
 * Branded ids: a `VariantId` cannot stand for a `ListingId`. All are UUIDs (v7, made by the `Ids` port) unless said otherwise.
 * Make one with the constructor of the same name where a value enters (a row, a request, a fresh uuid); nothing is checked here.
 */
declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

export type OrgId = Id<'org'>;
export type VariantId = Id<'variant'>;
export type LocationId = Id<'location'>;
/** A line of an order; also what commitments and shortfalls belong to. */
export type LineId = Id<'line'>;
/** Our own hold's id, or the id of the order line a channel's pending order stands for. */
export type HoldId = Id<'hold'>;
export type ConnectionId = Id<'connection'>;
export type ListingId = Id<'listing'>;
export type TargetId = Id<'target'>;
export type OrderId = Id<'order'>;
export type AttemptId = Id<'attempt'>;
export type PolicyId = Id<'policy'>;
export type AlertId = Id<'alert'>;
/** What a claim belongs to: an order line or a hold. One id space: a pending line's hold carries the line's id. */
export type ClaimId = LineId | HoldId;

export const OrgId = (value: string): OrgId => value as OrgId;
export const VariantId = (value: string): VariantId => value as VariantId;
export const LocationId = (value: string): LocationId => value as LocationId;
export const LineId = (value: string): LineId => value as LineId;
export const HoldId = (value: string): HoldId => value as HoldId;
export const ConnectionId = (value: string): ConnectionId => value as ConnectionId;
export const ListingId = (value: string): ListingId => value as ListingId;
export const TargetId = (value: string): TargetId => value as TargetId;
export const OrderId = (value: string): OrderId => value as OrderId;
export const AttemptId = (value: string): AttemptId => value as AttemptId;
export const PolicyId = (value: string): PolicyId => value as PolicyId;
export const AlertId = (value: string): AlertId => value as AlertId;
/** The hold that stands for a channel's pending order line carries the line's own id. */
export const holdOfLine = (lineId: LineId): HoldId => lineId as string as HoldId;
