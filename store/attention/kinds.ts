/**
 * Kinds of alerts: what each says in plain words, how grave it is, and what a person does about it.
 * The one table: raising, the API, the CLI and docs/alerts.md (held to it by kinds.test.ts) all take it from here.
 */
export type Severity = 'info' | 'warning' | 'critical';

export interface AlertKindFacts {
  severity: Severity;
  title: string;
  todo: string;
  /** How it ends: by itself once what it says is over, or when a person marks it as read. */
  ends: 'itself' | 'read';
}

const kind = (severity: Severity, ends: AlertKindFacts['ends'], title: string, todo: string): AlertKindFacts => ({
  severity,
  ends,
  title,
  todo,
});

export const alertKinds = {
  oversell: kind(
    'critical',
    'itself',
    'More was sold than there is',
    'Bring in goods, or cancel or split the order. Later stock goes to it first.',
  ),
  shipped_beyond_book: kind(
    'warning',
    'read',
    'More goods left than the book had',
    'Count the SKU at that location and book the count.',
  ),
  adjusted_beyond_book: kind(
    'warning',
    'read',
    'More goods were taken off than the book had',
    'Count the SKU at that location and book the count.',
  ),
  return_damaged: kind(
    'warning',
    'read',
    'A return came back damaged',
    'Claim it from whoever damaged it, or write it off.',
  ),
  return_quarantine: kind(
    'warning',
    'read',
    'A return came back in unknown condition',
    'Look at the goods and move them from quarantine to sellable or damaged.',
  ),
  return_unsellable: kind(
    'warning',
    'read',
    'A return cannot be sold again',
    'Nothing was booked; dispose of the goods.',
  ),
  order_unmapped: kind(
    'warning',
    'itself',
    'An order has a line without a SKU of ours',
    'Map the channel’s SKU (`syncstate import mapping`, or the mapping page); its units are booked at once.',
  ),
  dead_letter: kind(
    'critical',
    'itself',
    'An event could not be applied',
    '`syncstate dead-letters show <id>` says why; retry, edit or discard it. Till then numbers that wait for that channel’s orders are cut, not raised.',
  ),
  connection_unauthorized: kind(
    'critical',
    'itself',
    'A channel no longer accepts our access',
    'Give it new credentials (`syncstate connection renew --help`). Nothing is lost; everything that waits follows.',
  ),
  connection_unreachable: kind(
    'warning',
    'itself',
    'A channel cannot be reached',
    'Nothing, if the channel has an outage; otherwise check network and address. It is tried again by itself.',
  ),
  connection_limited: kind(
    'warning',
    'itself',
    'A channel limits our calls again and again',
    'Look for another program that uses the same account’s quota.',
  ),
  quota_nearly_used: kind(
    'warning',
    'itself',
    'More than 80 % of a channel’s quota is in use',
    'Look for another program that uses the same account’s quota, or ask the channel for more.',
  ),
  listing_rejected: kind(
    'warning',
    'itself',
    'A channel refuses a number',
    'Mend the listing at the channel as its words say; the next change or `syncstate listing sync <sku>` tries again.',
  ),
  listings_rejected: kind(
    'warning',
    'itself',
    'A channel refuses many numbers',
    'Look at the connection’s rejected listings; they often share one reason, such as a location or a right that is gone.',
  ),
  feed_stuck: kind(
    'warning',
    'itself',
    'A feed does not end',
    'Nothing; its numbers are read back and written singly.',
  ),
  feed_refused: kind(
    'warning',
    'read',
    'A channel refuses a feed',
    'Nothing, unless it repeats; its numbers are written singly.',
  ),
  drift: kind(
    'warning',
    'itself',
    'A channel shows another number than ours',
    'Decide: heal (ours goes there) or adopt (theirs becomes ours): `syncstate drift list`.',
  ),
  drift_flapping: kind(
    'warning',
    'itself',
    'A channel’s number is changed again and again',
    'Find the other program that writes there and stop it, then heal.',
  ),
  subscription_repaired: kind(
    'warning',
    'read',
    'A channel’s events were not subscribed as they should be',
    'Find who removed the subscription; it is made anew and sweeps cover the gap.',
  ),
  subscription_silent: kind(
    'warning',
    'itself',
    'No event of a channel arrives although all is subscribed',
    'Check that our public address can be reached from outside and the webhook secret is right.',
  ),
  errors_high: kind(
    'critical',
    'itself',
    'Too many calls to the channels fail',
    '`syncstate status` and `syncstate calls --status failed` say which channel and why.',
  ),
  work_waiting: kind(
    'critical',
    'itself',
    'Work waits too long',
    '`syncstate status` says where it waits; `syncstate doctor` what may be wrong.',
  ),
  queue_deep: kind(
    'warning',
    'itself',
    'Very much work waits',
    'Wait; if it does not shrink, start another worker (`syncstate worker`) or look at `syncstate status`.',
  ),
  pushes_stopped: kind(
    'critical',
    'itself',
    'All publishing of this organization is stopped',
    'Resume it when the reason is gone: `syncstate resume-pushes`.',
  ),
  installation_stopped: kind(
    'critical',
    'itself',
    'All publishing of this installation is stopped',
    'Resume it when the reason is gone: `syncstate resume-pushes`.',
  ),
} as const satisfies Record<string, AlertKindFacts>;

export type AlertKind = keyof typeof alertKinds;

/** Facts of a stored kind; null for one that a later release wrote. */
export const alertKindFacts = (name: string): AlertKindFacts | null =>
  Object.hasOwn(alertKinds, name) ? alertKinds[name as AlertKind] : null;
