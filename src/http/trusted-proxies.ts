import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { Forwarding } from './request-context';
import { addressOf, type Network } from '../platform/runtime/ip-address';

/** Values of HSTS: when responses tell browsers to use TLS. */
export type StrictTransport = 'auto' | 'always' | 'never';

/** Limit of hops that are read; longer chains are forged. */
const MAX_HOPS = 32;
const MAX_PREFIX_CHARACTERS = 200;

/**
 * Reads the headers of proxies in front of the service, which count only when a proxy of TRUSTED_PROXIES sent them. Of the
 * headers for addresses only X-Forwarded-For is read, as proxies set it: they pass on `Forwarded` as the client sent it.
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
   * Returns the address of the client: of the connection, or the rightmost of X-Forwarded-For that is no trusted proxy. A
   * hop that is no address ends the chain, as hops to its left cannot be trusted. Undefined for a connection without an
   * address.
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

  /** Returns TLS and prefix of a request; `strictTransport` always or never decides TLS without the headers. */
  forwardingOf(request: IncomingMessage, strictTransport: StrictTransport): Forwarding {
    const isSecure =
      strictTransport === 'always' || (strictTransport === 'auto' && this.isSecure(request));
    return { isSecure, prefix: this.prefixOf(request) };
  }

  /** Tells whether the client's connection is TLS by a trusted proxy's header; of several values the client's is first. */
  isSecure(request: IncomingMessage): boolean {
    const [protocol = ''] = this.headerOf(request, 'x-forwarded-proto').split(',');
    return protocol.trim().toLowerCase() === 'https';
  }

  /**
   * Returns the path that a trusted proxy has removed from the front of the target, such as `/audit`, or else ''. Only
   * plain path segments are accepted, as the path is written into headers and pages.
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
