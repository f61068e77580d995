/**
 * Endpoints: which address a connection may talk to.
 *
 *   live       https, a host of the vendor's manifest (exact or below it at a dot), never a private address
 *   simulated  the origin of its base URL and nothing else
 *   custom     (the operator allowed custom endpoints) a live connection may also reach the origin of its base URL,
 *              and whatever address that resolves to
 *
 * Names are checked here before a call, resolved addresses by `guardedLookup` at the moment of connecting, so that a name
 * that resolves to something else the second time gains nothing. Used by the transport.
 */
import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { ConnectorError } from '#core/errors.ts';

export interface EndpointRules {
  kind: 'live' | 'simulated';
  /** Simulated or custom endpoint; null = the vendor's own hosts. */
  baseUrl: string | null;
  allowedHosts: readonly string[];
  allowCustomEndpoints: boolean;
}

const PRIVATE_RANGES: readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'][] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['224.0.0.0', 4, 'ipv4'],
  ['240.0.0.0', 4, 'ipv4'],
  ['::', 128, 'ipv6'],
  ['::1', 128, 'ipv6'],
  ['64:ff9b::', 96, 'ipv6'],
  ['64:ff9b:1::', 48, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
];

const privateAddresses = new BlockList();
for (const [network, prefix, family] of PRIVATE_RANGES) privateAddresses.addSubnet(network, prefix, family);

/** Loopback, private, link-local, multicast and reserved addresses, IPv4 inside IPv6 included. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  return privateAddresses.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** Throws connector.rejected when this connection may not talk to `url`; nothing has been sent then. */
export function checkEndpoint(url: URL, rules: EndpointRules): void {
  const refuse = (why: string): never => {
    throw new ConnectorError('connector.rejected', `Refused to call ${url.origin}: ${why}`, {
      origin: url.origin,
      reason: 'endpoint_not_allowed',
    });
  };
  if (rules.kind === 'simulated') {
    if (rules.baseUrl === null) refuse('a simulated connection needs a base URL.');
    else if (new URL(rules.baseUrl).origin !== url.origin)
      refuse('a simulated connection talks to its simulator only.');
    return;
  }
  if (isCustom(url, rules)) return;
  if (url.protocol !== 'https:') refuse('live connections use https.');
  const host = url.hostname.toLowerCase().replace(/\.$/, '');
  const known = rules.allowedHosts.some((allowed) => host === allowed || host.endsWith(`.${allowed}`));
  if (!known) refuse("the host is not one of the vendor's.");
  if (isPrivateAddress(host.replace(/^\[|\]$/g, ''))) refuse('the address is private.');
}

/** Name resolution that refuses private addresses for live connections. */
export function guardedLookup(rules: EndpointRules): LookupFunction | undefined {
  if (rules.kind === 'simulated' || rules.allowCustomEndpoints) return undefined;
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const refused = addresses.find(({ address }) => isPrivateAddress(address));
      const first = addresses[0];
      if (refused || !first)
        return callback(
          Object.assign(new Error(`${hostname} resolves to a private address`), { code: 'EPRIVATE' }),
          '',
          0,
        );
      if (options.all) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}

function isCustom(url: URL, rules: EndpointRules): boolean {
  if (!rules.allowCustomEndpoints || rules.baseUrl === null) return false;
  return new URL(rules.baseUrl).origin === url.origin;
}
