import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { Forwarding } from './request-context';
import { addressOf, type Network } from '../platform/runtime/ip-address';

/** Setting HSTS: when responses tell browsers to use TLS. */
export type StrictTransport = 'auto' | 'always' | 'never';

/** Limit of hops that are read: longer chains are forged. */
const MAX_HOPS = 32;
const MAX_PREFIX_CHARACTERS = 200;

/**
 * The headers of proxies in front of the service, which only count when a proxy of TRUSTED_PROXIES sent them. Of the
 * headers for addresses, X-Forwarded-For alone is read, as proxies set it: one that sets a header passes on the other,
 * `Forwarded`, as its client sent it.
 */
export class TrustedProxies {
  private readonly networks = new BlockList();
  private readonly isEmpty: boolean;

  constructor(networks: readonly Network[]) {
    this.isEmpty = networks.length === 0;
    for (const { address, prefix, family } of networks) {
      this.networks.addSubnet(address, prefix, family);
    }
  }

  /**
   * The address of the client: that of the connection, or the last one of X-Forwarded-For, from its right, that no
   * trusted proxy has. A hop that is no address ends the chain: hops further left cannot be trusted. Undefined
   * for a connection without an address.
   */
  clientAddress({ socket, headers }: IncomingMessage): string | undefined {
    const peer = addressOf(socket.remoteAddress ?? '');
    if (this.isEmpty || peer === undefined || !this.trusts(peer)) return peer;
    let client = peer;
    const hops = textOf(headers['x-forwarded-for']).split(',').reverse().slice(0, MAX_HOPS);
    for (const hop of hops) {
      const address = addressOf(hop);
      if (address === undefined) break;
      client = address;
      if (!this.trusts(address)) break;
    }
    return client;
  }

  /** TLS and prefix by these headers; with `strictTransport` always or never, TLS does not depend on them. */
  forwardingOf(request: IncomingMessage, strictTransport: StrictTransport): Forwarding {
    const isSecure =
      strictTransport === 'always' || (strictTransport === 'auto' && this.isSecure(request));
    return { isSecure, prefix: this.prefixOf(request) };
  }

  /** True when the client's connection is TLS, as a trusted proxy says; of several, the first was the client's. */
  isSecure(request: IncomingMessage): boolean {
    const [protocol = ''] = this.headerOf(request, 'x-forwarded-proto').split(',');
    return protocol.trim().toLowerCase() === 'https';
  }

  /**
   * The path that a trusted proxy has removed from the front of the target, such as `/audit`; else ''. Only plain path
   * segments are taken, as the text goes into headers and pages.
   */
  prefixOf(request: IncomingMessage): string {
    const prefix = this.headerOf(request, 'x-forwarded-prefix').trim().replace(/\/$/, '');
    const isPath = /^(?:\/[A-Za-z0-9._~-]+)+$/.test(prefix) && !/\/\.{1,2}(?:\/|$)/.test(prefix);
    return isPath && prefix.length <= MAX_PREFIX_CHARACTERS ? prefix : '';
  }

  private headerOf({ socket, headers }: IncomingMessage, name: string): string {
    const value = headers[name];
    if (this.isEmpty || value === undefined) return '';
    const peer = addressOf(socket.remoteAddress ?? '');
    return peer !== undefined && this.trusts(peer) ? textOf(value) : '';
  }

  private trusts(address: string): boolean {
    return this.networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
}

function textOf(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}
